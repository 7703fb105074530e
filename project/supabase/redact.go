package supabase

import (
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

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
		if k != workingDirVariable {
			values = append(values, v)
		}
	}
	for _, f := range m.files {
		if parsed, err := parser.ParseBytes(m.texts[f], 0); err == nil && len(parsed.Docs) > 0 {
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
