package config

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Variable is the variable of the environment that names the configuration file.
const Variable = "HOLDFAST_CONFIG"

// Driver returns a pointer to an empty struct for the settings of a destination,
// or false if there is no destination of this name.
type Driver func(name string) (settings any, ok bool)

// Checker is implemented by settings that know what is wrong with them.
type Checker interface {
	// Check returns sentences that begin with a key.
	Check() []string
}

// Load reads a file. With an empty path it reads the file that [Variable] names,
// or returns the defaults if there is none. The error says everything that is
// wrong, each with its line.
func Load(path string, drivers Driver) (Config, error) {
	c := Default()
	if path == "" {
		path = os.Getenv(Variable)
	}
	f := &file{path: path, drivers: drivers}
	if path == "" {
		c.Destinations = map[string]any{"local": f.defaultLocal(c)}
		return c, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	if err := f.decode(b, &c); err != nil {
		return c, err
	}
	if c.Destinations == nil {
		c.Destinations = map[string]any{"local": f.defaultLocal(c)}
	}
	f.validate(&c)
	return c, f.err()
}

// file is a configuration file while it is read.
type file struct {
	path     string
	drivers  Driver
	ast      *ast.File
	problems []problem
}

type problem struct {
	line int // 0: about the file
	text string
}

func (f *file) say(line int, format string, args ...any) {
	f.problems = append(f.problems, problem{line, fmt.Sprintf(format, args...)})
}

// about says what is wrong with the value at a path such as $.http.listen.
func (f *file) about(path, format string, args ...any) {
	f.say(f.line(path), strings.TrimPrefix(path, "$.")+" "+format, args...)
}

// line returns where a value stands, or that of what it belongs to.
func (f *file) line(path string) int {
	for path != "$" && path != "" {
		if p, err := yaml.PathString(path); err == nil {
			if n, err := p.FilterFile(f.ast); err == nil && n != nil && n.GetToken() != nil {
				return n.GetToken().Position.Line
			}
		}
		path = path[:strings.LastIndexAny(path, ".[")]
	}
	return 0
}

func (f *file) err() error {
	if len(f.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(f.problems, func(a, b problem) int { return a.line - b.line })
	errs := make([]error, 0, len(f.problems))
	for _, p := range f.problems {
		if p.line > 0 {
			errs = append(errs, fmt.Errorf("%s:%d: %s", f.path, p.line, p.text))
		} else {
			errs = append(errs, fmt.Errorf("%s: %s", f.path, p.text))
		}
	}
	return errors.Join(errs...)
}

func (f *file) defaultLocal(c Config) any {
	settings, ok := f.drivers("local")
	if !ok {
		return nil
	}
	// The one setting that a folder needs.
	if err := yaml.Unmarshal(fmt.Appendf(nil, "path: %q", c.DataDir+"/backups"), settings); err != nil {
		panic(err) // the driver "local" must have a path
	}
	return settings
}

func (f *file) decode(b []byte, c *Config) error {
	var err error
	if f.ast, err = parser.ParseBytes(b, 0); err != nil {
		return fmt.Errorf("%s: %s", f.path, yaml.FormatError(err, false, true))
	}
	if len(f.ast.Docs) == 0 || f.ast.Docs[0].Body == nil {
		return nil
	}
	if len(f.ast.Docs) > 1 {
		f.say(0, "has more than one document")
	}
	body := f.ast.Docs[0].Body
	ast.Walk(expander{f}, body)
	f.unknown(body, reflect.TypeFor[Config](), "")
	if len(f.problems) > 0 {
		return f.err()
	}
	if err := yaml.NodeToValue(body, c); err != nil {
		return fmt.Errorf("%s: %s", f.path, yaml.FormatError(err, false, false))
	}
	return f.destinations(body, c)
}

// destinations decodes the settings of each destination into what its driver
// wants.
func (f *file) destinations(body ast.Node, c *Config) error {
	for name := range c.Destinations {
		node := child(child(body, "destinations"), name)
		settings, ok := f.drivers(name)
		if !ok {
			continue // validate says so
		}
		c.Destinations[name] = settings
		if node == nil || node.Type() == ast.NullType {
			continue
		}
		f.unknown(node, reflect.TypeOf(settings).Elem(), "destinations."+name+".")
		if err := yaml.NodeToValue(node, settings); err != nil {
			return fmt.Errorf("%s: %s", f.path, yaml.FormatError(err, false, false))
		}
	}
	return nil
}

func child(n ast.Node, key string) ast.Node {
	for _, v := range fields(n) {
		if v.Key.String() == key {
			return v.Value
		}
	}
	return nil
}

func fields(n ast.Node) []*ast.MappingValueNode {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

// unknown finds the keys that a struct does not have.
func (f *file) unknown(n ast.Node, t reflect.Type, prefix string) {
	switch t.Kind() {
	case reflect.Slice:
		if seq, ok := n.(*ast.SequenceNode); ok {
			for i, v := range seq.Values {
				f.unknown(v, t.Elem(), fmt.Sprintf("%s[%d].", strings.TrimSuffix(prefix, "."), i))
			}
		}
	case reflect.Struct:
		if word, ok := n.(*ast.StringNode); ok && word.Value != none {
			if _, ok := t.FieldByName("None"); ok {
				f.say(n.GetToken().Position.Line, "%s is %q; it must be a mapping such as {path: /srv/files}, or the word none", strings.TrimSuffix(prefix, "."), word.Value)
			}
		}
		for _, v := range fields(n) {
			key := v.Key.String()
			field, ok := fieldOf(t, key)
			if !ok {
				f.say(v.Key.GetToken().Position.Line, "%s%s is unknown; there is %s", prefix, key, strings.Join(keysOf(t), ", "))
				continue
			}
			f.unknown(v.Value, field.Type, prefix+key+".")
		}
	default: // has no keys
	}
}

func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	for field := range tagged(t) {
		if field.Tag.Get("yaml") == key {
			return field, true
		}
	}
	return reflect.StructField{}, false
}

func keysOf(t reflect.Type) []string {
	var keys []string
	for field := range tagged(t) {
		keys = append(keys, field.Tag.Get("yaml"))
	}
	return keys
}

// tagged returns the fields that have a key, those of inlined structs as well.
func tagged(t reflect.Type) iter.Seq[reflect.StructField] {
	return func(yield func(reflect.StructField) bool) {
		for field := range t.Fields() {
			switch field.Tag.Get("yaml") {
			case "", "-":
			case ",inline":
				for f := range tagged(field.Type) {
					if !yield(f) {
						return
					}
				}
			default:
				if !yield(field) {
					return
				}
			}
		}
	}
}

// expander fills in ${VAR} and ${file:path} in values; $$ is a plain $.
type expander struct{ f *file }

var reference = regexp.MustCompile(`\$\$|\$\{([^}]*)\}`)

// Visit implements ast.Visitor.
func (e expander) Visit(n ast.Node) ast.Visitor {
	if m, ok := n.(*ast.MappingValueNode); ok {
		ast.Walk(e, m.Value) // keys stay as they are
		return nil
	}
	if s, ok := n.(*ast.StringNode); ok {
		s.Value = reference.ReplaceAllStringFunc(s.Value, func(ref string) string {
			if ref == "$$" {
				return "$"
			}
			v, err := lookup(ref[2 : len(ref)-1])
			if err != nil {
				e.f.say(n.GetToken().Position.Line, "%s: %v", ref, err)
			}
			return v
		})
	}
	return e
}

func lookup(name string) (string, error) {
	if path, ok := strings.CutPrefix(name, "file:"); ok {
		b, err := os.ReadFile(path)
		return strings.TrimRight(string(b), "\r\n"), err
	}
	v, ok := os.LookupEnv(name)
	if !ok {
		return "", errors.New("this variable of the environment is not set")
	}
	return v, nil
}
