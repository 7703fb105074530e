package supabase

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/template"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// explain says what is wrong with the compose files: where, and without any value
// of them or of .env. Names of keys, services and files are fine.
func (m *model) explain(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s, to which %s refers, cannot be read: %w", e.Path, m.mention(filepath.Base(e.Path)), e.Err)
	}
	text := err.Error()
	at := m.syntax(text)
	if at == "" {
		at = m.where(text)
	}
	if e, ok := errors.AsType[*template.MissingRequiredError](err); ok {
		return fmt.Errorf("%s: the variable %s is required and has no value", at, e.Variable)
	}
	return fmt.Errorf("%s: compose does not accept this: %s", at, m.withoutValues(text))
}

var (
	parseFailure = regexp.MustCompile(`failed to parse (.+?): yaml: `)
	yamlLine     = regexp.MustCompile(`(?: at)? ?line (\d+)(, column \d+)?:?`)
	validating   = regexp.MustCompile(`^validating .+?: `)
	invalid      = regexp.MustCompile(`(?i)^(invalid \w+): .*`)
)

// syntax returns the place of an error in the syntax of a file, or "".
func (*model) syntax(text string) string {
	found := parseFailure.FindStringSubmatch(text)
	if found == nil {
		return ""
	}
	line := 0
	for _, n := range yamlLine.FindAllStringSubmatch(text, -1) {
		i, _ := strconv.Atoi(n[1])
		if n[2] != "" { // counted from 0, unlike the others
			i++
		}
		line = max(line, i)
	}
	if b, err := os.ReadFile(found[1]); err == nil {
		_, err = parser.ParseBytes(b, 0)
		if e, ok := errors.AsType[yaml.Error](err); ok {
			line = e.GetToken().Position.Line
		}
	}
	return fmt.Sprintf("%s:%d", found[1], line)
}

var keyPath = regexp.MustCompile(`\b(?:services|volumes|networks|secrets|configs)[.\[][^\s:'"]+`)

// where returns the place of the key that an error is about: in the last file that
// has it, or the name of the first file.
func (m *model) where(text string) string {
	for _, path := range keyPath.FindAllString(text, -1) {
		keys := strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
		for len(keys) > 1 {
			for _, f := range slices.Backward(m.files) {
				if line := lineOf(f, keys); line > 0 {
					return fmt.Sprintf("%s:%d", f, line)
				}
			}
			keys = keys[:len(keys)-1]
		}
	}
	for _, word := range quoted.FindAllString(text, -1) {
		if at := m.mention(strings.Trim(word, `"'`)); at != m.files[0] {
			return at
		}
	}
	return m.mention(text[strings.LastIndexByte(text, ' ')+1:])
}

// mention returns the place of the first line that holds a word, or the name of the
// first file.
func (m *model) mention(word string) string {
	for _, f := range m.files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		before, _, found := strings.Cut(string(b), word)
		if found && word != "" {
			return fmt.Sprintf("%s:%d", f, strings.Count(before, "\n")+1)
		}
	}
	return m.files[0]
}

// lineOf returns the line of a key in a file; 0 if it does not have the key.
func lineOf(file string, keys []string) int {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	parsed, err := parser.ParseBytes(b, 0)
	if err != nil || len(parsed.Docs) == 0 {
		return 0
	}
	node, line := parsed.Docs[0].Body, 0
	for _, key := range keys {
		var next ast.Node
		for _, field := range fieldsOf(node) {
			if field.Key.String() == key {
				next, line = field.Value, field.Key.GetToken().Position.Line
			}
		}
		if next == nil {
			return 0
		}
		node = next
	}
	return line
}

func fieldsOf(n ast.Node) []*ast.MappingValueNode {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	case *ast.AnchorNode:
		return fieldsOf(n.Value)
	case *ast.TagNode:
		return fieldsOf(n.Value)
	}
	return nil
}

var (
	quoted = regexp.MustCompile(`"[^"]*"|'[^']*'`)
	space  = regexp.MustCompile(`\s+`)
)

// Values of at least longValue bytes are hidden wherever they stand, shorter ones
// where they are a word.
const (
	longValue  = 6
	shortValue = 3
)

func isSeparator(r rune) bool { return strings.ContainsRune(":=,@/ ", r) }

// hide replaces a value in a text.
func hide(text, value string) string {
	if len(value) >= longValue {
		return strings.ReplaceAll(text, value, "…")
	}
	if len(value) < shortValue {
		return text
	}
	return regexp.MustCompile(`(^|\W)`+regexp.QuoteMeta(value)+`(\W|$)`).ReplaceAllString(text, "${1}…${2}")
}

// withoutValues takes everything out of an error that is a value of the files.
func (m *model) withoutValues(text string) string {
	if parseFailure.MatchString(text) {
		text = yamlLine.ReplaceAllString(parseFailure.ReplaceAllString(text, ""), "")
	}
	text = invalid.ReplaceAllString(validating.ReplaceAllString(text, ""), "$1")
	text = strings.ReplaceAll(text, " false schema", " is no key that compose knows")
	keys, values := m.words()
	for _, v := range values {
		for _, piece := range append([]string{v}, strings.FieldsFunc(v, isSeparator)...) {
			if !keys[piece] {
				text = hide(text, piece)
			}
		}
	}
	text = quoted.ReplaceAllStringFunc(text, func(s string) string {
		if inner := strings.Trim(s, `"'`); keys[inner] || keyPath.MatchString(inner) {
			return s
		}
		return "…"
	})
	return space.ReplaceAllString(strings.TrimSpace(text), " ")
}

// words returns the keys and the values of all files, and the values of the
// variables; longer values come first.
func (m *model) words() (keys map[string]bool, values []string) {
	keys = map[string]bool{}
	for k, v := range m.env {
		keys[k] = true
		values = append(values, v)
	}
	for _, f := range m.files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		if parsed, err := parser.ParseBytes(b, 0); err == nil && len(parsed.Docs) > 0 {
			ast.Walk(visitor(func(n ast.Node) {
				switch n := n.(type) {
				case *ast.MappingValueNode:
					keys[n.Key.String()] = true
				case *ast.StringNode:
					values = append(values, n.Value)
				}
			}), parsed.Docs[0].Body)
		}
	}
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })
	return keys, values
}

type visitor func(ast.Node)

// Visit implements ast.Visitor.
func (v visitor) Visit(n ast.Node) ast.Visitor {
	v(n)
	return v
}
