package supabase

import (
	"context"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// remarks returns what is no fault but may not be what the operator thinks: files of a
// part that the service mounts from elsewhere, and a database that no service is.
func (f *found) remarks(ctx context.Context) (out []string) {
	if d := f.database; f.databaseErr == nil && d.service == "" && f.options.DatabaseURL == "" && isBareName(d.host) && d.host != "localhost" && !slices.Contains(thisMachine, d.host) {
		out = append(out, fmt.Sprintf("The database is at %s (%s), which is no service of %s. If it is a container of other compose files, name them by COMPOSE_FILE in .env, or set database.url.",
			d.host, d.from, strings.Join(f.m.files, ", ")))
	}
	for _, r := range []role{storageRole, functionsRole} {
		if r.key == storageRole.key && f.options.Storage != (Storage{}) || r.key == functionsRole.key && f.options.Functions != (Functions{}) {
			continue
		}
		if name, err := f.m.find(r); err == nil && name != "" {
			out = append(out, f.elsewhere(ctx, name, f.target(r, name))...)
		}
	}
	return out
}

// target returns where in its container a service of a role has its files.
func (f *found) target(r role, service string) string {
	if r.mounts == functionsTarget {
		return functionsAt(f.m.service(service))
	}
	env, err := f.m.environment(service)
	if err != nil {
		return storageTarget
	}
	return storageAt(env)
}

// elsewhere returns what a service mounts below a path of its container from another
// place than the folder that it mounts there: the backup of the part does not hold it.
func (f *found) elsewhere(ctx context.Context, service, target string) (out []string) {
	dir, _, ok, err := f.folderOf(ctx, service, target)
	if !ok || err != nil {
		return nil
	}
	mounts := mountsBelow(f.m.service(service), target)
	for _, rel := range slices.Sorted(maps.Keys(mounts)) {
		v := mounts[rel]
		if v.Type == types.VolumeTypeBind && v.Source == filepath.Join(dir, rel) {
			continue
		}
		out = append(out, fmt.Sprintf("The service %s mounts %s at %s: it does not lie in %s, so the backup does not hold it.", service, v.Source, path.Join(target, rel), dir))
	}
	return out
}
