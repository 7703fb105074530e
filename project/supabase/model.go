package supabase

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
)

// model is what compose makes of the files of a folder.
type model struct {
	folder  string            // in which the operator runs compose
	dir     string            // compose's project directory
	files   []string          // compose files, those that others include as well
	envFile string            // with the variables; "" if there is none
	env     map[string]string // what the files may refer to
	notes   []string          // what is no error but good to know
	unset   map[string]bool   // variables that the files refer to and nobody sets
	scope   scope             // in which all files lie
	texts   map[string][]byte // of the files that were read
	project *types.Project
}

// workingDirVariable is what a shell sets to the folder in which the operator runs
// compose.
const workingDirVariable = "PWD"

// load reads a folder as `docker compose config` does, but only what is needed: a
// build context or an env_file that is not there is no error.
func load(ctx context.Context, folder string, in scope, envFile string) (*model, error) {
	if !isDir(folder) {
		return nil, fmt.Errorf("%s is not a folder that can be read; `supabase:` is the folder with the compose file", folder)
	}
	quiet()
	m := &model{folder: folder, env: map[string]string{}, unset: map[string]bool{}, scope: in, texts: map[string][]byte{}}
	if err := m.readEnv(envFile); err != nil {
		return nil, err
	}
	if _, set := m.env[workingDirVariable]; !set {
		m.env[workingDirVariable] = folder
	}
	var err error
	if m.files, m.notes, err = composeFiles(folder, m.env); err != nil {
		return nil, err
	}
	m.dir = filepath.Dir(m.files[0])
	for _, f := range m.files {
		if _, err := m.read(f); err != nil {
			return nil, unreadableFile(f, err)
		}
	}
	if env := filepath.Join(m.dir, ".env"); m.dir != folder && envFile == "" && isFile(env) {
		if err := readEnv(env, m.read, m.env); err != nil {
			return nil, err
		}
	}
	err = m.load(ctx)
	for _, f := range m.files { // those that others include, for the places of keys
		_, _ = m.read(f)
	}
	if err != nil {
		return nil, m.explain(err)
	}
	m.inheritVolumes()
	if len(m.unset) > 0 {
		m.notes = append(m.notes, "Compose takes these variables as empty, since nobody sets them: "+strings.Join(slices.Sorted(maps.Keys(m.unset)), ", ")+".")
	}
	return m, nil
}

// readEnv reads the variables that the compose files may refer to: those of the
// file that the configuration names, else of .env, else of stack.env, which
// Portainer writes. A folder without any of them is fine.
func (m *model) readEnv(named string) error {
	if named != "" {
		if !filepath.IsAbs(named) {
			named = filepath.Join(m.folder, named)
		}
		m.envFile = named
		return readEnv(named, func(name string) ([]byte, error) { return m.scope.named(name).Read() }, m.env)
	}
	for _, name := range []string{".env", "stack.env"} {
		name = filepath.Join(m.folder, name)
		if _, err := os.Lstat(name); err == nil && !isDir(name) {
			m.envFile = name
			return readEnv(name, m.read, m.env)
		}
	}
	return nil
}

// read returns the content of a file in the scope. It is read once.
func (m *model) read(name string) ([]byte, error) {
	if b, ok := m.texts[name]; ok {
		return b, nil
	}
	b, err := m.scope.read(name)
	if err == nil {
		m.texts[name] = b
	}
	return b, err
}

// load lets compose's library make a project of the files.
func (m *model) load(ctx context.Context) error {
	if m.scope.everything() {
		return m.loadHere(ctx)
	}
	return confined(m.scope.roots(), func(confined bool) error {
		var loaders []loader.ResourceLoader
		if !confined {
			loaders = append(loaders, noFiles{})
		}
		return m.loadHere(ctx, loaders...)
	})
}

// noFiles is a [loader.ResourceLoader] that finds no files.
type noFiles struct{}

// Accept implements [loader.ResourceLoader].
func (noFiles) Accept(string) bool { return true }

// Load implements [loader.ResourceLoader].
func (noFiles) Load(context.Context, string) (string, error) { return "", errNoLandlock }

// Dir implements [loader.ResourceLoader].
func (noFiles) Dir(path string) string { return filepath.Dir(path) }

func (m *model) loadHere(ctx context.Context, loaders ...loader.ResourceLoader) (err error) {
	details := types.ConfigDetails{WorkingDir: m.dir, ConfigFiles: types.ToConfigFiles(m.files), Environment: maps.Clone(m.env)}
	for i := range details.ConfigFiles {
		details.ConfigFiles[i].Content = m.texts[details.ConfigFiles[i].Filename]
	}
	m.project, err = loader.LoadWithContext(ctx, details, func(o *loader.Options) {
		o.SkipConsistencyCheck, o.SkipResolveEnvironment, o.SkipResolveLabels = true, true, true
		o.ResourceLoaders = loaders
		o.Interpolate.Substitute = m.substitute
		o.Listeners = []loader.Listener{m.listen}
		for p := range strings.SplitSeq(m.env["COMPOSE_PROFILES"], ",") {
			o.Profiles = append(o.Profiles, strings.TrimSpace(p))
		}
		if name := m.env["COMPOSE_PROJECT_NAME"]; name != "" {
			o.SetProjectName(name, true)
		} else { // unless a file has a name
			o.SetProjectName(loader.NormalizeProjectName(filepath.Base(m.dir)), false)
		}
	})
	return err
}

// substitute fills in variables as compose does, and notes those that are not set.
func (m *model) substitute(text string, lookup template.Mapping) (string, error) {
	return template.SubstituteWithOptions(text, lookup, template.WithoutLogging, template.WithReplacementFunction(
		func(s string, lookup template.Mapping, cfg *template.Config) (string, error) {
			value, applied, err := template.DefaultReplacementAppliedFunc(s, lookup, cfg)
			if err == nil && !applied {
				m.unset[strings.Trim(s, "${}")] = true
			}
			return value, err
		}))
}

// listen notes the files that others include or extend.
func (m *model) listen(event string, data map[string]any) {
	paths, _ := data["path"].(types.StringList) // of the event "include"
	dir, _ := data["workingdir"].(string)
	if file, ok := data["file"].(string); ok && event == "extends" {
		paths, dir = types.StringList{file}, m.dir
	}
	for _, p := range paths {
		if !filepath.IsAbs(p) {
			p = filepath.Join(dir, p)
		}
		if !slices.Contains(m.files, p) {
			m.files = append(m.files, p)
		}
	}
}

// deployment returns the files that decide where the services of this folder are and
// how they log in: compose files and files of variables.
func (m *model) deployment() []string {
	out := append(slices.Clone(m.files), filepath.Join(m.folder, ".env"), filepath.Join(m.dir, ".env"))
	if m.envFile != "" {
		out = append(out, m.envFile)
	}
	for _, s := range m.services() {
		for _, f := range s.EnvFiles {
			out = append(out, f.Path)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// service returns a service, whether its profile is active or not.
func (m *model) service(name string) types.ServiceConfig {
	if s, ok := m.project.Services[name]; ok {
		return s
	}
	return m.project.DisabledServices[name]
}

// environment returns the variables of a service, those of its env_file included.
// An env_file that is not there has none.
func (m *model) environment(name string) (map[string]string, error) {
	s := m.service(name)
	set := s.Environment.Resolve(types.Mapping(m.env).Resolve)
	out := map[string]string(set.ToMapping())
	lookup := func(key string) (string, bool) {
		if v, ok := m.env[key]; ok {
			return v, true
		}
		v, ok := set[key]
		if !ok || v == nil {
			return "", false
		}
		return *v, true
	}
	for _, f := range s.EnvFiles {
		b, err := m.read(f.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, unreadableFile(f.Path, err)
		}
		if err := dotenv.ParseWithFormat(bytes.NewReader(b), f.Path, out, lookup, f.Format); err != nil {
			return nil, envError(f.Path, err)
		}
	}
	for k, v := range set { // wins over the files
		if v != nil {
			out[k] = *v
		} else {
			delete(out, k)
		}
	}
	return out, nil
}
