package supabase

import (
	"fmt"
	"regexp"
	"strings"
)

// superuser is the role of Supabase's images that may read everything.
const superuser = "supabase_admin"

// plainSuperuser is the role that other images of PostgreSQL make.
const plainSuperuser = "postgres"

const (
	defaultPort     = "5432"
	defaultDatabase = "postgres"
)

// database is how to reach the database of a project.
type database struct {
	service        string // of the compose files; "" if the database is elsewhere
	host           string // elsewhere
	port           string // on which the server listens
	name           string
	user, password string
	from           string // what says so
}

// findDatabase finds the database that the services of the project use.
func (m *model) findDatabase() (d database, err error) {
	clients, err := m.clients()
	if err == nil {
		err = m.oneDatabase(clients)
	}
	if err != nil {
		return d, err
	}
	if h := m.env["POSTGRES_HOST"]; len(clients) == 0 && h != "" && (strings.ContainsAny(h, ".:") || m.serviceAt(h) != "") {
		clients = []address{{host: h, port: m.env["POSTGRES_PORT"], database: m.env["POSTGRES_DB"], from: "POSTGRES_HOST"}}
	}
	var said address
	if len(clients) > 0 {
		said = clients[0]
		d.service = m.serviceAt(said.host)
	}
	if said.host == "" {
		if d.service, err = m.find(databaseRole); err != nil {
			return d, err
		}
	}
	if said.host == "" && d.service == "" {
		h := m.env["POSTGRES_HOST"]
		if h == "" {
			return d, fmt.Errorf("no service of %s is a PostgreSQL database, and no service says where it is; set database.url", strings.Join(m.files, ", "))
		}
		said = address{host: h, port: m.env["POSTGRES_PORT"], database: m.env["POSTGRES_DB"], from: "POSTGRES_HOST"}
	}
	env := map[string]string{}
	if d.service != "" {
		if env, err = m.environment(d.service); err != nil {
			return d, err
		}
		d.from = "the service " + d.service
	} else {
		d.host, d.from = said.host, said.from
	}
	d.port = m.listensOn(d.service, env, said.port)
	d.name = firstOf(said.database, env["POSTGRES_DB"], m.env["POSTGRES_DB"], defaultDatabase)
	d.user = m.superuser(d.service, env, clients)
	d.password, err = m.password(d, env, clients)
	return d, err
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// listensOn returns the port of the server itself.
func (m *model) listensOn(service string, env map[string]string, said string) string {
	if service == "" {
		return firstOf(said, m.env["POSTGRES_PORT"], defaultPort)
	}
	s := m.service(service)
	for i, arg := range s.Command { // as the server takes it
		if rest, ok := strings.CutPrefix(strings.TrimPrefix(arg, "-c"), "port="); ok {
			return rest
		}
		if rest, ok := strings.CutPrefix(arg, "--port="); ok {
			return rest
		}
		if arg == "-p" && i+1 < len(s.Command) {
			return s.Command[i+1]
		}
	}
	if env["PGPORT"] != "" {
		return env["PGPORT"]
	}
	guesses := []string{said, env["POSTGRES_PORT"], defaultPort}
	for _, g := range guesses {
		for _, p := range s.Ports {
			if g != "" && fmt.Sprint(p.Target) == g {
				return g
			}
		}
	}
	return firstOf(guesses...)
}

// superuser returns the role that may read everything.
func (m *model) superuser(service string, env map[string]string, clients []address) string {
	for _, a := range clients {
		if service == "" && a.admin && a.user != "" {
			return a.user
		}
	}
	image := imageName(m.service(service).Image)
	if service == "" || image == "" || strings.Contains(image, "supabase") {
		return superuser
	}
	if user := firstOf(env["POSTGRES_USER"], env["POSTGRESQL_USERNAME"]); user != "" {
		return user
	}
	for _, a := range clients {
		if a.admin && a.user != "" {
			return a.user
		}
	}
	if plainImage.MatchString(image[strings.LastIndexByte(image, '/')+1:]) {
		return plainSuperuser
	}
	return superuser
}

// plainImage matches images whose superuser is plainSuperuser, unless a variable names
// another.
var plainImage = regexp.MustCompile(`^(postgres|postgresql|postgis|pgvector|timescaledb)$`)

// password returns the password that the server or its clients are given.
func (m *model) password(d database, env map[string]string, clients []address) (string, error) {
	if p := firstOf(env["POSTGRES_PASSWORD"], env["PGPASSWORD"]); p != "" {
		return p, nil
	}
	for _, v := range []string{"POSTGRES_PASSWORD_FILE", "PGPASSWORD_FILE"} {
		if env[v] != "" {
			return m.secret(d.service, env[v], v)
		}
	}
	for _, a := range clients {
		if a.user == d.user && a.password != "" {
			return a.password, nil
		}
	}
	if p := m.env["POSTGRES_PASSWORD"]; p != "" {
		return p, nil
	}
	for _, a := range clients { // Supabase gives its roles one password
		if a.password != "" {
			return a.password, nil
		}
	}
	where := d.from
	if d.service != "" {
		where += " of " + strings.Join(m.files, ", ")
	}
	return "", fmt.Errorf("%s has no POSTGRES_PASSWORD, and neither has .env; set it there, name the file of variables with env_file, or set database.url", where)
}
