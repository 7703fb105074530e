package supabase

import (
	"maps"
	"slices"
	"strings"
)

// address is where services say that the database is, and as whom they log in.
type address struct {
	host, port, database string
	user, password       string
	admin                bool   // the user is who manages the database
	core                 bool   // the service must have the project's own database
	from                 string // which service or file says so
}

// urlVariables and hostVariables are those in which Supabase's services are told
// where the database is; prefix stands before HOST, PORT, NAME, USER and PASSWORD.
var (
	urlVariables  = []string{"DATABASE_URL", "GOTRUE_DB_DATABASE_URL", "PGRST_DB_URI", "SUPABASE_DB_URL"}
	hostVariables = []string{metaPrefix, "DB_"}
	clientImages  = []string{"storage-api", "gotrue", "postgrest", "postgres-meta", "realtime", "edge-runtime"}
	coreImages    = clientImages[:3]
)

// metaPrefix begins the variables of postgres-meta, which logs in as a superuser.
const metaPrefix = "PG_META_DB_"

// clients returns where the project's own services say that the database is, the
// most telling first. What leads to a pooler is left out.
func (m *model) clients() ([]address, error) {
	var out []address
	for _, image := range clientImages {
		for _, name := range slices.Sorted(maps.Keys(m.project.Services)) {
			if repository := imageName(m.project.Services[name].Image); !strings.HasSuffix("/"+repository, "/"+image) {
				continue
			}
			env, err := m.environment(name)
			if err != nil {
				return nil, err
			}
			for _, a := range addresses(env) {
				var known bool
				a.host, known = m.hostAsSeenBy(name, a.host)
				if target := m.serviceAt(a.host); known && (target == "" || !m.isPooler(target)) {
					a.from, a.core = "the service "+name, slices.Contains(coreImages, image)
					out = append(out, a)
				}
			}
		}
	}
	return out, nil
}

// addresses reads the variables of a service.
func addresses(env map[string]string) (out []address) {
	for _, v := range urlVariables {
		if a, ok := parseAddress(env[v]); ok {
			out = append(out, a)
		}
	}
	for _, p := range hostVariables {
		if host := env[p+"HOST"]; host != "" {
			out = append(out, address{host: host, port: env[p+"PORT"], database: env[p+"NAME"], user: env[p+"USER"], password: env[p+"PASSWORD"], admin: p == metaPrefix})
		}
	}
	return out
}

// parseAddress reads a postgres:// URL as services get it: the password in it may
// hold any characters.
func parseAddress(url string) (a address, ok bool) {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok || scheme != "postgres" && scheme != "postgresql" {
		return a, false
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		a.user, a.password, _ = strings.Cut(rest[:i], ":")
		rest = rest[i+1:]
	}
	rest, _, _ = strings.Cut(rest, "?")
	rest, a.database, _ = strings.Cut(rest, "/")
	a.host, a.port = rest, ""
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, ']') {
		a.host, a.port = rest[:i], rest[i+1:]
	}
	a.host = strings.Trim(a.host, "[]")
	return a, a.host != ""
}
