package supabase

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// compose is what Holdfast looks at of a project's compose files, later files
// over earlier ones.
type compose struct {
	files    []string // names, for messages
	name     string
	services map[string]service
	env      map[string]string
}

type service struct {
	ContainerName string `yaml:"container_name"`
	Ports         []any  `yaml:"ports"`
	Environment   any    `yaml:"environment"`
	EnvFile       any    `yaml:"env_file"`
}

// readCompose reads the base file, those that .env chooses, and the override.
func readCompose(dir string, env map[string]string) (compose, error) {
	c := compose{services: map[string]service{}, env: env}
	names := []string{"docker-compose.yml", "docker-compose.yaml", "compose.yml", "compose.yaml"}
	base := ""
	for _, n := range names {
		if _, err := os.Stat(filepath.Join(dir, n)); err == nil {
			base = n
			break
		}
	}
	if base == "" {
		return c, fmt.Errorf("%s has none of %s", dir, strings.Join(names, ", "))
	}
	files := []string{base}
	files = append(files, strings.FieldsFunc(env["COMPOSE_FILE"], func(r rune) bool { return r == ':' || r == ',' })...)
	for x := range strings.FieldsSeq(env["CONFIG"]) { // CONFIG="pg17 logs s3"
		files = append(files, "docker-compose."+x+".yml")
	}
	files = append(files, "docker-compose.override.yml", "docker-compose.override.yaml")
	for i, f := range files {
		err := c.merge(dir, f)
		if errors.Is(err, fs.ErrNotExist) && i > 0 {
			continue
		}
		if err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c *compose) merge(dir, file string) error {
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	if slices.Contains(c.files, file) {
		return nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var in struct {
		Name     string             `yaml:"name"`
		Services map[string]service `yaml:"services"`
	}
	if err := yaml.Unmarshal(b, &in); err != nil {
		return fmt.Errorf("%s is not a compose file: %s", file, yaml.FormatError(err, false, false))
	}
	c.files = append(c.files, file)
	if in.Name != "" {
		c.name = in.Name
	}
	for name, s := range in.Services {
		have := c.services[name]
		have.Ports = append(have.Ports, s.Ports...)
		if s.ContainerName != "" {
			have.ContainerName = s.ContainerName
		}
		have.Environment = mergeEnv(have.Environment, s.Environment)
		if s.EnvFile != nil {
			have.EnvFile = s.EnvFile
		}
		c.services[name] = have
	}
	return nil
}

// envFiles returns the names of the files from which a service gets variables.
func (c *compose) envFiles(service string) (names []string) {
	all, ok := c.services[service].EnvFile.([]any)
	if !ok {
		all = []any{c.services[service].EnvFile}
	}
	for _, f := range all {
		if m, ok := f.(map[string]any); ok { // {path: …, required: …}
			f = m["path"]
		}
		if s, ok := f.(string); ok {
			names = append(names, c.expand(s))
		}
	}
	return names
}

// mergeEnv joins the two ways to write an environment: a map, or a list of
// NAME=value.
func mergeEnv(all ...any) map[string]string {
	out := map[string]string{}
	for _, e := range all {
		switch e := e.(type) {
		case map[string]string:
			maps.Copy(out, e)
		case map[string]any:
			for k, v := range e {
				if v != nil {
					out[k] = fmt.Sprint(v)
				}
			}
		case []any:
			for _, line := range e {
				if k, v, ok := strings.Cut(fmt.Sprint(line), "="); ok {
					out[k] = v
				}
			}
		}
	}
	return out
}

// environment returns a variable of a service.
func (c *compose) environment(service, name string) (string, bool) {
	env, _ := c.services[service].Environment.(map[string]string)
	v, ok := env[name]
	return c.expand(v), ok
}

func (c *compose) container(service string) string {
	return c.expand(c.services[service].ContainerName)
}

type port struct{ host, published, target string }

// ports returns the ports that a service publishes, in the short form
// "[[host:]published:]target[/protocol]" or the long one.
func (c *compose) ports(service string) []port {
	var out []port
	for _, p := range c.services[service].Ports {
		if m, ok := p.(map[string]any); ok {
			out = append(out, port{c.text(m["host_ip"]), c.text(m["published"]), c.text(m["target"])})
			continue
		}
		s, _, _ := strings.Cut(c.expand(fmt.Sprint(p)), "/")
		i := strings.LastIndexByte(s, ':')
		if i < 0 {
			out = append(out, port{target: s})
			continue
		}
		one := port{published: s[:i], target: s[i+1:]}
		if j := strings.LastIndexByte(one.published, ':'); j >= 0 {
			one.host, one.published = strings.Trim(one.published[:j], "[]"), one.published[j+1:]
		}
		out = append(out, one)
	}
	return out
}

func (c *compose) text(v any) string {
	if v == nil {
		return ""
	}
	return c.expand(fmt.Sprint(v))
}

var variable = regexp.MustCompile(`\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?+])([^}]*))?\}|([A-Za-z_][A-Za-z0-9_]*)|(\$))`)

// expand fills in variables as compose does: $A, ${A}, ${A:-default}, ${A-default}.
func (c *compose) expand(s string) string {
	return variable.ReplaceAllStringFunc(s, func(v string) string {
		m := variable.FindStringSubmatch(v)
		if m[5] != "" {
			return "$"
		}
		value, set := c.env[m[1]+m[4]]
		switch m[2] {
		case ":-":
			if value == "" {
				return m[3]
			}
		case "-":
			if !set {
				return m[3]
			}
		case ":+", "+":
			if value == "" {
				return ""
			}
			return m[3]
		}
		return value
	})
}

// projectName returns the name that docker puts before the names of volumes.
func (c *compose) projectName(dir string, env map[string]string) string {
	for _, n := range []string{env["COMPOSE_PROJECT_NAME"], c.expand(c.name)} {
		if n != "" {
			return n
		}
	}
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return -1
	}, strings.ToLower(filepath.Base(dir)))
	return strings.TrimLeft(clean, "_-")
}
