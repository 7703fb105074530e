package supabase

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
	project *types.Project
}

// workingDirVariable is what a shell sets to the folder in which the operator runs
// compose.
const workingDirVariable = "PWD"

// load reads a folder as `docker compose config` does, but only what is needed: a
// build context or an env_file that is not there is no error.
func load(ctx context.Context, folder, envFile string) (*model, error) {
	if !isDir(folder) {
		return nil, fmt.Errorf("%s is not a folder that can be read; `supabase:` is the folder with the compose file", folder)
	}
	quiet()
	m := &model{folder: folder, env: map[string]string{}, unset: map[string]bool{}}
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
	if env := filepath.Join(m.dir, ".env"); m.dir != folder && envFile == "" && isFile(env) {
		if err := readEnv(env, m.env); err != nil {
			return nil, err
		}
	}
	if err := m.load(ctx); err != nil {
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
		return readEnv(named, m.env)
	}
	for _, name := range []string{".env", "stack.env"} {
		name = filepath.Join(m.folder, name)
		if _, err := os.Lstat(name); err == nil && !isDir(name) {
			m.envFile = name
			return readEnv(name, m.env)
		}
	}
	return nil
}

func (m *model) load(ctx context.Context) (err error) {
	details := types.ConfigDetails{WorkingDir: m.dir, ConfigFiles: types.ToConfigFiles(m.files), Environment: maps.Clone(m.env)}
	m.project, err = loader.LoadWithContext(ctx, details, func(o *loader.Options) {
		o.SkipConsistencyCheck, o.SkipResolveEnvironment, o.SkipResolveLabels = true, true, true
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
	s.PreStart = nil
	s.EnvFiles = slices.Clone(s.EnvFiles)
	for i := range s.EnvFiles {
		s.EnvFiles[i].Required = false
	}
	p, err := types.Project{Environment: m.env, Services: types.Services{name: s}}.WithServicesEnvironmentResolved(true)
	if err != nil {
		return nil, m.envFileError(s.EnvFiles, err)
	}
	out := map[string]string{}
	for k, v := range p.Services[name].Environment {
		if v != nil {
			out[k] = *v
		}
	}
	return out, nil
}

func (m *model) envFileError(files []types.EnvFile, err error) error {
	for _, f := range files {
		if strings.Contains(err.Error(), f.Path) {
			return envError(f.Path, err)
		}
	}
	return errors.New("an env_file cannot be read as a list of NAME=value lines")
}
