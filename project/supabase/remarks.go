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

	"github.com/holdfast-dev/holdfast/project"
)

// remarks returns what is no fault but may not be what the operator thinks: files of a
// part that the service mounts from elsewhere, and a database that no service is.
func (f *found) remarks(parts []project.Part) (out []string) {
	d := f.database
	if f.databaseErr == nil && d.service == "" && f.options.DatabaseURL == "" && isBareName(d.host) && d.host != "localhost" && !slices.Contains(thisMachine, d.host) {
		out = append(out, fmt.Sprintf("The database is at %s (%s), which is no service of %s. If it is a container of other compose files, name them by COMPOSE_FILE in .env, or set database.url.",
			d.host, d.from, strings.Join(f.m.files, ", ")))
	}
	for _, part := range parts {
		switch p := part.(type) {
		case *project.StoragePart:
			out = append(out, p.Apart...)
		case *project.FunctionsPart:
			out = append(out, p.Apart...)
		}
	}
	return out
}

// apart returns what a service mounts below a path of its container from another place
// than the folder that it mounts there: the part does not hold it. What lies in the folder
// of the configuration is held by that.
func (f *found) apart(ctx context.Context, service, target string) (out []string) {
	at, _, ok, err := f.placeOf(ctx, service, target)
	if !ok || err != nil {
		return nil
	}
	mounts := mountsBelow(f.m.service(service), target)
	for _, rel := range slices.Sorted(maps.Keys(mounts)) {
		v := mounts[rel]
		if v.Type == types.VolumeTypeBind && (v.Source == filepath.Join(at.Path, rel) || within(v.Source, f.options.Config.Root)) {
			continue
		}
		out = append(out, fmt.Sprintf("The service %s mounts %s at %s: it does not lie in %s, so the backup does not hold it.", service, v.Source, path.Join(target, rel), at.Path))
	}
	return out
}
