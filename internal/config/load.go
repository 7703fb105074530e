package config

import (
	"errors"
	"fmt"
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

// Checks is what other packages know of values. None of its errors may hold a value.
type Checks struct {
	// Destination returns a pointer to an empty struct for the settings of a
	// destination, or false if there is no destination of this name.
	Destination func(name string) (settings any, ok bool)
	Recipient   func(text string) error    // of encryption; nil: all are good
	Pattern     func(pattern string) error // of configuration files; nil: all are good
}

// Checker is implemented by settings that know what is wrong with them.
type Checker interface {
	// Check returns sentences that begin with a key.
	Check() []string
}

// Load reads a file. With an empty path it reads the file that [Variable] names,
// or returns the defaults if there is none. The error says everything that is
// wrong, each with its line and key and without the value.
func Load(path string, checks Checks) (Config, error) {
	c := Default()
	if path == "" {
		path = os.Getenv(Variable)
	}
	f := &file{path: path, checks: checks, lines: map[string]int{}, anchors: map[string]ast.Node{}, bad: map[string]bool{}}
	if path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return c, fmt.Errorf("configuration: %w", err)
		}
		if err := f.read(b, &c); err != nil {
			return c, err
		}
	}
	c.File = path
	if c.Destinations == nil {
		c.Destinations = map[string]any{defaultDestination: f.defaultLocal(c)}
	}
	f.checking = true
	f.validate(&c)
	return c, f.err()
}

// file is a configuration file while it is read.
type file struct {
	path     string
	checks   Checks
	lines    map[string]int      // of keys such as http.listen
	anchors  map[string]ast.Node // of YAML
	bad      map[string]bool     // keys whose values could not be decoded
	checking bool                // everything is decoded
	problems []problem
}

type problem struct {
	line int // 0: about the file
	text string
}

func (f *file) say(line int, format string, args ...any) {
	f.problems = append(f.problems, problem{line, fmt.Sprintf(format, args...)})
}

// about says what is wrong with the value of a key such as http.listen. Of a value that
// could not be decoded nothing else is said.
func (f *file) about(key, format string, args ...any) {
	if f.checking && f.bad[key] {
		return
	}
	if !f.checking {
		f.bad[key] = true
	}
	f.say(f.line(key), key+" "+format, args...)
}

// line returns where a key stands, or that to which it belongs.
func (f *file) line(key string) int {
	for key != "" {
		if line, ok := f.lines[key]; ok {
			return line
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
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
		at := f.path
		if p.line > 0 {
			at = fmt.Sprintf("%s:%d", at, p.line)
		}
		errs = append(errs, fmt.Errorf("%s: %s", at, p.text))
	}
	return errors.Join(errs...)
}

func (f *file) defaultLocal(c Config) any {
	settings, ok := f.checks.Destination(defaultDestination)
	if !ok {
		return nil
	}
	reflect.ValueOf(settings).Elem().FieldByName("Path").SetString(c.DataDir + "/backups") // the one setting of a folder
	return settings
}

// read decodes a file into c. Its error is that the file is not YAML.
func (f *file) read(b []byte, c *Config) error {
	parsed, err := parser.ParseBytes(b, 0)
	if syntax, ok := errors.AsType[yaml.Error](err); ok && syntax.GetToken() != nil {
		// The message alone: with the source the library prints the lines around it.
		return fmt.Errorf("%s:%d: %s", f.path, syntax.GetToken().Position.Line, syntax.GetMessage())
	}
	if err != nil {
		return fmt.Errorf("%s: is not YAML", f.path)
	}
	if len(parsed.Docs) == 0 || parsed.Docs[0].Body == nil {
		return nil
	}
	if len(parsed.Docs) > 1 {
		f.say(0, "has more than one document")
	}
	if body := parsed.Docs[0].Body; isMapping(body) {
		f.decode(body, reflect.ValueOf(c).Elem(), "")
	} else if body.Type() != ast.NullType && body.Type() != ast.CommentType {
		f.say(1, "is not a mapping of keys such as data_dir: /var/lib/holdfast")
	}
	return nil
}

var (
	reference = regexp.MustCompile(`\$\$|\$\{([^}]*)\}`)
	refersTo  = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*|file:.+)$`)
)

// expand fills in ${VAR} and ${file:path}; $$ is a plain $.
func (f *file) expand(text, key string) string {
	return reference.ReplaceAllStringFunc(text, func(ref string) string {
		if ref == "$$" {
			return "$"
		}
		name := ref[2 : len(ref)-1]
		if !refersTo.MatchString(name) { // it may be a part of a password
			f.about(key, "has ${…} around something that is neither a variable nor file:/path; a plain $ is written as $$")
			return ""
		}
		v, err := lookup(name)
		if err != nil {
			f.about(key, "refers to %s: %v", ref, err)
		}
		return v
	})
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
