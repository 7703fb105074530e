package supabase

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-dev/holdfast/project"
)

// storage finds the files of the storage service.
func (f *found) storage(ctx context.Context) (project.Part, *project.Absence) {
	o := f.options.Storage
	name, err := f.m.find(storageRole)
	env := map[string]string{}
	if err == nil && name != "" {
		env, err = f.m.environment(name)
	}
	tenant := firstOf(o.Tenant, f.tenant(env))
	target := storageAt(env)
	f.inside(ctx, name, target, o.Path)
	switch {
	case o.None:
		return nil, &project.Absence{Part: project.Storage, Chosen: true}
	case o.Path != "":
		f.note(project.Storage, "storage.path")
		return storagePart(f.m.scope.named(o.Path), tenant), nil
	case err != nil:
		return unavailable(project.Storage, err), nil
	case name == "":
		return f.usual(project.Storage, "volumes/storage", tenant)
	}
	if backend := firstOf(env["STORAGE_BACKEND"], f.m.env["STORAGE_BACKEND"]); backend != "" && backend != "file" {
		return unavailable(project.Storage, fmt.Errorf("the service %s of %s keeps its files on %q; a storage backend on S3 cannot be backed up yet. Set storage: none to back up the rest, or storage.path if the files also lie in a folder", name, f.m.where("services."+name), backend)), nil
	}
	dir, err := f.part(ctx, storageRole, name, target)
	if err != nil {
		return f.unavailable(err, dir.Path, storagePart(dir, tenant)), nil
	}
	f.note(project.Storage, f.m.where("services."+name)+", service "+name)
	part := storagePart(dir, tenant)
	part.Apart = f.apart(ctx, name, target)
	return part, nil
}

// part returns the folder that a service mounts. What is not there is an error that
// says what to do; the folder is returned as well.
func (f *found) part(ctx context.Context, r role, service, target string) (project.Place, error) {
	advice := fmt.Sprintf("start it, set %s, or set %s: none", r.key, strings.TrimSuffix(r.key, ".path"))
	dir, what, mounts, err := f.placeOf(ctx, service, target)
	at := f.m.where("services." + service)
	if outside, ok := errors.AsType[*outsideError](err); ok {
		return project.Place{}, fmt.Errorf("%s: the service %s keeps its files in %s, but %w; set %s, or %s: none, %s", at, service, what, outside, r.key, strings.TrimSuffix(r.key, ".path"), allowPath)
	}
	switch {
	case err != nil:
		return project.Place{}, fmt.Errorf("%s: the service %s has its files at %s, but %w; %s", at, service, target, err, advice)
	case !mounts:
		return project.Place{}, fmt.Errorf("%s: the service %s mounts nothing at %s, where it keeps its files; %s", at, service, target, advice)
	}
	there, err := isFolder(dir)
	switch {
	case there:
		return dir, nil
	case errors.Is(err, os.ErrPermission):
		return project.Place{}, fmt.Errorf("%s: the service %s keeps its files in %s, but this user may not read %s", at, service, what, dir.Path)
	}
	return dir, fmt.Errorf("%s: the service %s keeps its files in %s, but %s is not there or is no folder; is a disk not mounted? Else %s", at, service, what, dir.Path, advice)
}

// isFolder reports whether a folder is there.
func isFolder(at project.Place) (bool, error) {
	d, err := at.Open()
	if err != nil {
		return false, err
	}
	fi, err := d.Stat()
	return err == nil && fi.IsDir(), errors.Join(err, d.Close())
}

// usual returns a part at its usual place in a folder whose compose files do not
// have the service.
func (f *found) usual(part, dir, tenant string) (project.Part, *project.Absence) {
	path := filepath.Join(f.m.dir, dir)
	if !isDir(path) {
		key := strings.ToLower(part)
		return nil, &project.Absence{Part: part, Sentence: fmt.Sprintf("No service of %s keeps %s files, and %s is not there; set %s.path, or %s: none.", strings.Join(f.m.files, ", "), part, path, key, key)}
	}
	at, err := f.m.scope.place(path)
	if err != nil {
		return unavailable(part, fmt.Errorf("%w; set %s.path, %s", err, strings.ToLower(part), allowPath)), nil
	}
	f.note(part, "the usual folder; no service of "+strings.Join(f.m.files, ", ")+" mounts it")
	if part == project.Storage {
		return storagePart(at, tenant), nil
	}
	return functionsPart(at, f.functionVariables), nil
}

// unavailable returns a part whose folder is not there. A restore may make it if it
// lies in the folder of the project: elsewhere a disk may not be mounted.
func (f *found) unavailable(err error, dir string, place project.Part) project.Part {
	u := unavailable(place.Name(), err)
	if _, lerr := os.Lstat(dir); errors.Is(lerr, os.ErrNotExist) && f.holds(dir) {
		u.Place = place
	}
	return u
}

// holds reports whether a folder that is not there would lie in the folder of the
// project, whatever links lead to it.
func (f *found) holds(dir string) bool {
	above := filepath.Dir(dir)
	for !isDir(above) && above != "/" && above != "." {
		above = filepath.Dir(above)
	}
	resolved, err := filepath.EvalSymlinks(above)
	root, rerr := filepath.EvalSymlinks(f.m.folder)
	return err == nil && rerr == nil && within(resolved, root)
}

func unavailable(part string, err error) *project.UnavailablePart {
	return &project.UnavailablePart{Part: part, Sentence: "The part " + part + " cannot be found: " + strings.TrimSuffix(err.Error(), ".") + "."}
}

// storageAt returns where in its container the storage service has its files.
func storageAt(env map[string]string) string {
	return filepath.Clean(firstOf(env["STORAGE_FILE_BACKEND_PATH"], env["FILE_STORAGE_BACKEND_PATH"], storageTarget))
}

// tenant returns the folder of the project's objects below the storage root.
func (f *found) tenant(env map[string]string) string {
	bucket := firstOf(env["STORAGE_S3_BUCKET"], env["GLOBAL_S3_BUCKET"], f.m.env["GLOBAL_S3_BUCKET"], "stub")
	tenant := firstOf(env["PROJECT_REF"], env["TENANT_ID"], f.m.env["TENANT_ID"], f.m.env["STORAGE_TENANT_ID"], "stub")
	return bucket + "/" + tenant
}
