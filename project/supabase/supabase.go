// Package supabase finds the parts of a self-hosted Supabase project in the folder
// that has its compose files. The files mean what compose means by them: they are
// read by compose's own library. Services are known by their images and by what
// they do, the database by what the services themselves use, and files by where the
// services mount them.
//
// Everything is looked for each time that [Find] is called, since files, volumes and
// containers change while Holdfast runs.
package supabase

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/project"
)

// Options change what is found.
type Options struct {
	DatabaseURL string        // instead of looking for the database
	Tools       string        // folder of pg_dump; empty: the usual places
	LockTimeout time.Duration // see [project.DatabasePart]
	RootKey     string        // where the pgsodium root key lies, instead of looking for it
	EnvFile     string        // instead of .env, for compose's --env-file; relative to the folder
	Storage     Storage
	Functions   Functions
	Config      project.ConfigPart // default: everything in the folder; Data and Deployment are found
	Docker      string             // the docker command; default: docker, or podman where there is no docker
	VolumeRoot  string             // where docker keeps volumes, when it cannot be asked; default: the usual places of docker and podman

	// AllowedPaths are files and folders outside of the folder that its files may name,
	// absolute or relative to it. Nothing else there is read or written.
	AllowedPaths []string
}

// Storage corrects what is found of the storage files.
type Storage struct {
	None   bool   // they are not backed up
	Path   string // where they are
	Tenant string // folder of the project below; "": what the service is given
}

// Functions corrects what is found of the edge functions.
type Functions struct {
	None bool
	Path string
}

// found is what was found in a folder.
type found struct {
	options     Options
	m           *model
	database    database
	databaseErr error
	origins     map[string]string // of the parts
	notes       []string          // what is no problem but good to know
	parts       []string          // folders that other parts than the configuration hold
}

// configExclude is what a configuration backup leaves out in any case: the usual
// places of what other parts hold, and what can be made anew.
var configExclude = []string{
	"volumes/db/data", "volumes/db/data.*", "volumes/storage", "volumes/functions", "volumes/logs/*.log", "backups", "**/.git", "**/node_modules", "volumes/deno-cache",
}

// Find reads a folder and finds the parts of its project. A part that cannot be found
// is a [project.UnavailablePart], which says why.
func Find(ctx context.Context, dir string, o Options) project.Project {
	o.Docker = firstOf(o.Docker, dockerCommand())
	abs, err := filepath.Abs(dir)
	if err != nil {
		return unreadable(newScope(dir, o.AllowedPaths), o, err)
	}
	from := "config.root"
	if o.Config.Root == "" {
		from = "the folder of `supabase:`"
		o.Config.Root, o.Config.Include, o.Config.Exclude = abs, []string{"**"}, configExclude
	}
	in := newScope(abs, o.AllowedPaths)
	m, err := load(ctx, abs, in, o.EnvFile)
	if err != nil {
		return unreadable(in, o, err)
	}
	f := &found{options: o, m: m, origins: map[string]string{}}
	p := project.Project{Origins: f.origins}
	if f.database, f.databaseErr = m.findDatabase(); f.databaseErr != nil && o.DatabaseURL == "" {
		p.Faults = []string{"The database cannot be found: " + f.databaseErr.Error() + "."}
	}
	p.Server = &project.Server{URL: f.serverURL, Tools: o.Tools}
	key := namedKey(in, o)
	if key == nil {
		key = f.rootKey
		f.noteKeyOutside(ctx)
	}
	p.Parts = []project.Part{&project.DatabasePart{LockTimeout: o.LockTimeout, RootKey: key}}
	f.note(project.Database, f.databaseOrigin())
	for _, find := range []func(context.Context) (project.Part, *project.Absence){f.storage, f.functions} {
		part, absent := find(ctx)
		if part != nil {
			p.Parts = append(p.Parts, part)
		}
		if absent != nil {
			p.Absent = append(p.Absent, *absent)
		}
	}
	f.note(project.Config, from)
	p.Notes = append(m.notes, f.remarks(p.Parts)...)
	root := o.Config.Root
	if config := in.named(root); from == "config.root" {
		o.Config.Within = config.Within
	}
	o.Config.Exclude = append(literal(relative(root, f.parts)), o.Config.Exclude...)
	o.Config.Data, o.Config.Deployment = relative(root, m.dataFolders()), relative(root, m.deployment())
	p.Parts, p.Notes = append(p.Parts, &o.Config), append(p.Notes, f.notes...)
	p.Credentials = &credentials{folder: abs, root: root, o: f.options}
	return p
}

// unreadable returns the project of a folder whose files compose does not accept.
// What the options name, and the configuration, can be backed up and restored all the
// same.
func unreadable(in scope, o Options, err error) project.Project {
	sentence := "The folder of the project cannot be read as compose reads it: " + err.Error() + "."
	p := project.Project{Origins: map[string]string{project.Config: "the folder of `supabase:`"}, Server: &project.Server{Tools: o.Tools, URL: func(context.Context) (string, error) {
		if o.DatabaseURL == "" {
			return "", err
		}
		return o.DatabaseURL, nil
	}}}
	p.Parts = []project.Part{
		&project.UnavailablePart{Part: project.Database, Sentence: sentence}, &project.UnavailablePart{Part: project.Storage, Sentence: sentence},
		&project.UnavailablePart{Part: project.Functions, Sentence: sentence}, &o.Config,
	}
	if o.DatabaseURL != "" {
		p.Parts[0] = &project.DatabasePart{LockTimeout: o.LockTimeout, RootKey: namedKey(in, o)}
	}
	if o.Storage.Path != "" {
		p.Parts[1] = storagePart(in.named(o.Storage.Path), o.Storage.Tenant)
	}
	if o.Functions.Path != "" {
		p.Parts[2] = functionsPart(in.named(o.Functions.Path), nil)
	}
	p.Parts = slices.DeleteFunc(p.Parts, func(part project.Part) bool {
		return part.Name() == project.Storage && o.Storage.None || part.Name() == project.Functions && o.Functions.None
	})
	if o.Storage.None {
		p.Absent = append(p.Absent, project.Absence{Part: project.Storage, Chosen: true})
	}
	return p
}

// note records what has led to a part.
func (f *found) note(part, from string) { f.origins[part] = from }

// inside notes the folders of a part that is no configuration: what its service
// mounts, and what the options name.
func (f *found) inside(ctx context.Context, service, target, named string) {
	if named != "" {
		f.parts = append(f.parts, named)
	}
	if service == "" {
		return
	}
	if at, _, ok, err := f.placeOf(ctx, service, target); ok && err == nil {
		f.parts = append(f.parts, at.Path)
	}
}

// literal returns patterns that match only the names.
func literal(names []string) []string {
	out := make([]string, 0, len(names))
	for _, n := range names {
		out = append(out, special.ReplaceAllString(n, `\$0`))
	}
	return out
}

var special = regexp.MustCompile(`[*?\[\]{}\\]`)

func (f *found) databaseOrigin() string {
	switch {
	case f.options.DatabaseURL != "":
		return "database.url"
	case f.databaseErr != nil || f.database.service == "":
		return firstOf(f.database.from, strings.Join(f.m.files, ", "))
	}
	return f.m.where("services."+f.database.service) + ", service " + f.database.service
}

// namedKey returns the place of the key of the vault that the options name; nil if they
// do not.
func namedKey(in scope, o Options) func(context.Context) project.Place {
	if o.RootKey == "" {
		return nil
	}
	return func(context.Context) project.Place { return in.named(o.RootKey) }
}

// rootKey returns where the key of the vault lies on this machine, or the zero place.
func (f *found) rootKey(ctx context.Context) project.Place {
	if f.databaseErr != nil || f.database.service == "" {
		return project.Place{}
	}
	dir, _, ok, err := f.placeOf(ctx, f.database.service, rootKeyTarget)
	if !ok || err != nil {
		return project.Place{}
	}
	key := project.Place{Path: filepath.Join(dir.Path, "pgsodium_root.key"), Within: dir.Within}
	if file, err := key.Open(); err != nil || file.Close() != nil {
		return project.Place{}
	}
	return key
}

// noteKeyOutside says that the key of the vault is not looked for where the files say.
func (f *found) noteKeyOutside(ctx context.Context) {
	if f.databaseErr != nil || f.database.service == "" {
		return
	}
	_, _, _, err := f.placeOf(ctx, f.database.service, rootKeyTarget)
	if outside, ok := errors.AsType[*outsideError](err); ok {
		f.notes = append(f.notes, fmt.Sprintf("The root key of the vault is not backed up: %v; set database.root_key, %s.", outside, allowPath))
	}
}

func storagePart(at project.Place, tenant string) *project.StoragePart {
	return &project.StoragePart{Path: at.Path, Within: at.Within, Tenant: tenant}
}

func functionsPart(at project.Place, env func() (map[string]bool, error)) *project.FunctionsPart {
	return &project.FunctionsPart{Path: at.Path, Within: at.Within, Env: env}
}
