package supabase

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// role is what a service does for a Supabase project, and how the service is known.
type role struct {
	what   string         // for people
	image  *regexp.Regexp // last component of the image's name
	vendor string         // how the name of Supabase's own image ends
	name   *regexp.Regexp // of the service
	vars   []string       // that only such a service has
	mounts string         // what only such a service mounts
	key    string         // of the configuration, which does without the service
}

var (
	databaseRole = role{
		what: "the database", image: regexp.MustCompile(`^(.*[-_])?(postgres|postgresql|postgis|pgvector|timescaledb)$`), vendor: "supabase/postgres",
		name: regexp.MustCompile(`^((supabase[-_])?(db|postgres|postgresql|database)|supabase[-_](db|postgres)[-_][a-z0-9]+)$`),
		vars: []string{"POSTGRES_PASSWORD", "POSTGRES_PASSWORD_FILE"}, mounts: "/var/lib/postgresql", key: "database.url",
	}
	storageRole = role{
		what: "the storage service", image: regexp.MustCompile(`^(.*[-_])?storage-api$`), vendor: "supabase/storage-api",
		name: regexp.MustCompile(`^(supabase[-_])?storage([-_]api)?([-_][a-z0-9]+)?$`),
		vars: []string{"STORAGE_BACKEND", "FILE_STORAGE_BACKEND_PATH", "STORAGE_FILE_BACKEND_PATH"}, mounts: storageTarget, key: "storage.path",
	}
	functionsRole = role{
		what: "the service of the edge functions", image: regexp.MustCompile(`^(.*[-_])?edge-runtime$`), vendor: "supabase/edge-runtime",
		name: regexp.MustCompile(`^(supabase[-_])?(edge[-_])?functions([-_][a-z0-9]+)?$`), mounts: functionsTarget, key: "functions.path",
	}
	poolerImage = regexp.MustCompile(`^(.*[-_])?(supavisor|pgbouncer|pgcat|pgpool|odyssey)([-_].*)?$`)
)

// find returns the name of the service of a role; "" if there is none.
func (m *model) find(r role) (string, error) {
	best, names := 0, []string(nil)
	for name, s := range m.services() {
		score := r.score(name, s)
		if _, active := m.project.Services[name]; active && score > 0 {
			score += 10
		}
		switch {
		case score == 0 || score < best:
		case score > best:
			best, names = score, []string{name}
		default:
			names = append(names, name)
		}
	}
	switch len(names) {
	case 0:
		return "", nil
	case 1:
		return names[0], nil
	}
	slices.Sort(names)
	return "", fmt.Errorf("the services %s of %s could all be %s; set %s", strings.Join(names, ", "), strings.Join(m.files, ", "), r.what, r.key)
}

// services returns all services, also those of profiles that are not active.
func (m *model) services() map[string]types.ServiceConfig {
	all := maps.Clone(map[string]types.ServiceConfig(m.project.DisabledServices))
	if all == nil {
		all = map[string]types.ServiceConfig{}
	}
	maps.Copy(all, m.project.Services)
	return all
}

// score says how well a service fits: its image counts most, then its name.
func (r role) score(name string, s types.ServiceConfig) int {
	repository := imageName(s.Image)
	byName := r.name.MatchString(name)
	switch last := repository[strings.LastIndexByte(repository, '/')+1:]; {
	case repository == r.vendor || strings.HasSuffix(repository, "/"+r.vendor):
		return boolInt(byName) + 5
	case r.image.MatchString(last):
		return 2*boolInt(byName) + 1 // an own build, or another thing's database
	case !byName:
		return 0
	case repository == "" || r.marks(s):
		return 2
	}
	return 0
}

// marks reports whether a service has what only services of the role have.
func (r role) marks(s types.ServiceConfig) bool {
	for _, v := range r.vars {
		if _, ok := s.Environment[v]; ok {
			return true
		}
	}
	return slices.ContainsFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool {
		return v.Target == r.mounts || strings.HasPrefix(v.Target, r.mounts+"/")
	})
}

// imageName returns an image's name without tag and digest.
func imageName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		image = image[:i]
	}
	return image
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// isPooler reports whether a service hands out connections of a database that is
// elsewhere.
func (m *model) isPooler(name string) bool {
	image := imageName(m.service(name).Image)
	return poolerImage.MatchString(image[strings.LastIndexByte(image, '/')+1:]) || poolerImage.MatchString(name)
}
