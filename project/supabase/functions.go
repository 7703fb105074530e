package supabase

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/holdfast-dev/holdfast/project"
)

// functions finds the folder of the edge functions.
func (f *found) functions(ctx context.Context) (project.Part, *project.Absence) {
	o := f.options.Functions
	name, err := f.m.find(functionsRole)
	target := functionsAt(f.m.service(name))
	f.inside(ctx, name, target, o.Path)
	switch {
	case o.None:
		return nil, &project.Absence{Part: project.Functions, Chosen: true}
	case o.Path != "":
		f.note(project.Functions, "functions.path")
		return functionsPart(f.m.scope.named(o.Path), f.functionVariables), nil
	case err != nil:
		return unavailable(project.Functions, err), nil
	case name == "":
		return f.usual(project.Functions, "volumes/functions", "")
	}
	if _, _, ok := mountedAt(f.m.service(name), target); !ok {
		return f.functionsOneByOne(name, target)
	}
	dir, err := f.part(ctx, functionsRole, name, target)
	if err != nil {
		return f.unavailable(err, dir.Path, functionsPart(dir, f.functionVariables)), nil
	}
	f.note(project.Functions, f.m.where("services."+name)+", service "+name)
	part := functionsPart(dir, f.functionVariables)
	part.Apart = f.apart(ctx, name, target)
	return part, nil
}

// functionsAt returns where in its container a service has the functions: at the usual
// place, else around or in the folder of the main service, as far as something is mounted
// there.
func functionsAt(s types.ServiceConfig) string {
	main := ""
	for i, arg := range s.Command {
		if value, ok := strings.CutPrefix(arg, "--main-service="); ok {
			main = value
		} else if arg == "--main-service" && i+1 < len(s.Command) {
			main = s.Command[i+1]
		}
	}
	if path.IsAbs(main) {
		for _, at := range []string{functionsTarget, path.Dir(path.Clean(main)), path.Clean(main)} {
			if _, _, ok := mountedAt(s, at); ok {
				return at
			}
		}
	}
	return functionsTarget
}

// functionsOneByOne finds the folder of functions that a service mounts one by one. They
// must lie in one folder under the names that they have in the container.
func (f *found) functionsOneByOne(service, target string) (project.Part, *project.Absence) {
	mounts := mountsBelow(f.m.service(service), target)
	if len(mounts) == 0 {
		return nil, &project.Absence{Part: project.Functions, Sentence: "The service " + service + " mounts nothing at " + target + "."}
	}
	dir := ""
	for _, rel := range slices.Sorted(maps.Keys(mounts)) {
		above, ok := strings.CutSuffix(mounts[rel].Source, "/"+rel)
		above = firstOf(above, "/")
		if !ok || dir != "" && above != dir {
			return unavailable(project.Functions, fmt.Errorf("%s: the service %s mounts functions from several places: %s; a backup has one folder of functions. Put them into one, set functions.path, or set functions: none",
				f.m.where("services."+service), service, strings.Join(sources(mounts), ", "))), nil
		}
		dir = above
	}
	at, err := f.m.scope.place(dir)
	if err != nil {
		return unavailable(project.Functions, fmt.Errorf("%s: the service %s has its functions in %s, but %w; set functions.path, or functions: none, %s",
			f.m.where("services."+service), service, dir, err, allowPath)), nil
	}
	part := functionsPart(at, f.functionVariables)
	if there, err := isFolder(at); !there {
		if errors.Is(err, os.ErrPermission) {
			return unavailable(project.Functions, fmt.Errorf("%s: the service %s has its functions in %s, which this user may not read", f.m.where("services."+service), service, dir)), nil
		}
		return f.unavailable(fmt.Errorf("%s: the service %s has its functions in %s, which is not there or is no folder; is a disk not mounted? Else set functions.path, or set functions: none",
			f.m.where("services."+service), service, dir), dir, part), nil
	}
	f.parts = append(f.parts, dir)
	f.note(project.Functions, f.m.where("services."+service)+", service "+service)
	return part, nil
}

func sources(mounts map[string]types.ServiceVolumeConfig) (out []string) {
	for _, rel := range slices.Sorted(maps.Keys(mounts)) {
		out = append(out, mounts[rel].Source)
	}
	return out
}

// functionVariables returns the names of the variables that .env and the compose
// files give to the functions, as the files are now.
func (f *found) functionVariables() (map[string]bool, error) {
	m, err := load(context.Background(), f.m.folder, f.m.scope, f.options.EnvFile)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for name := range m.env {
		names[name] = true
	}
	service, err := m.find(functionsRole)
	if err != nil || service == "" {
		return names, err
	}
	env, err := m.environment(service)
	for name := range env {
		names[name] = true
	}
	return names, err
}
