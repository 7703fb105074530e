package supabase

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

var keyPath = regexp.MustCompile(`\b(?:services|volumes|networks|secrets|configs)[.\[][^\s:'"]+`)

// where returns the place of the key that an error is about: in the last file that
// has it, or the name of the first file.
func (m *model) where(text string) string {
	for _, path := range keyPath.FindAllString(text, -1) {
		keys := strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
		for len(keys) > 1 {
			for _, f := range slices.Backward(m.files) {
				if line := lineOf(m.texts[f], keys); line > 0 {
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
		before, _, found := strings.Cut(string(m.texts[f]), word)
		if found && word != "" {
			return fmt.Sprintf("%s:%d", f, strings.Count(before, "\n")+1)
		}
	}
	return m.files[0]
}

// lineOf returns the line of a key in the text of a file; 0 if it does not have the key.
func lineOf(text []byte, keys []string) int {
	parsed, err := parser.ParseBytes(text, 0)
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
