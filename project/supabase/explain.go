package supabase

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/template"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"
)

// explain says what is wrong with the compose files: where, and without any value
// of them or of .env. Names of keys, services and files are fine.
func (m *model) explain(err error) error {
	if errors.Is(err, errNoLandlock) {
		return fmt.Errorf("%s: %w", m.files[0], errNoLandlock)
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		if _, perr := m.scope.place(e.Path); perr != nil {
			if outside, ok := errors.AsType[*outsideError](perr); ok {
				return fmt.Errorf("%s: %w; move the file there, %s", m.mention(filepath.Base(e.Path)), outside, allowPath)
			}
		}
		return fmt.Errorf("%s, to which %s refers, cannot be read: %w", e.Path, m.mention(filepath.Base(e.Path)), e.Err)
	}
	text := err.Error()
	at := m.syntax(text)
	if at == "" {
		at = firstOf(m.emptied(text), m.where(text))
	}
	if e, ok := errors.AsType[*template.MissingRequiredError](err); ok {
		return fmt.Errorf("%s: the variable %s is required and has no value", at, e.Variable)
	}
	return fmt.Errorf("%s: compose does not accept this: %s%s", at, m.withoutValues(text), m.aboutUnset())
}

// maxUnset is how many variables an error names.
const maxUnset = 5

// aboutUnset names variables that nobody sets: with an empty value in its place many a
// line means nothing.
func (m *model) aboutUnset() string {
	names := slices.Sorted(maps.Keys(m.unset))
	switch n := len(names); {
	case n == 0:
		return ""
	case n > maxUnset:
		names = append(names[:maxUnset], fmt.Sprintf("and %d others", n-maxUnset))
	}
	return "; nobody sets these variables: " + strings.Join(names, ", ")
}

// beginning matches an item that begins with a variable, such as a volume or a port.
var beginning = regexp.MustCompile(`^\s*-\s*["']?\$\{?(\w+)\}?:`)

// emptied returns the place of the first volume or port whose beginning is a variable
// that nobody sets, if the error is about such a thing, or "".
func (m *model) emptied(text string) string {
	if !invalid.MatchString(text) {
		return ""
	}
	for _, f := range m.files {
		for i, line := range strings.Split(string(m.texts[f]), "\n") {
			if name := beginning.FindStringSubmatch(line); name != nil && m.unset[name[1]] {
				return fmt.Sprintf("%s:%d: the variable %s has no value", f, i+1, name[1])
			}
		}
	}
	return ""
}

var (
	parseFailure = regexp.MustCompile(`failed to parse (.+?): yaml: `)
	yamlLine     = regexp.MustCompile(`(?: at)? ?line (\d+)(, column \d+)?:?`)
	validating   = regexp.MustCompile(`^validating .+?: `)
	invalid      = regexp.MustCompile(`(?i)^(invalid \w+): .*`)
)

// syntax returns the place of an error in the syntax of a file, or "".
func (m *model) syntax(text string) string {
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
	if b, err := m.read(found[1]); err == nil {
		_, err = parser.ParseBytes(b, 0)
		if e, ok := errors.AsType[yaml.Error](err); ok {
			line = e.GetToken().Position.Line
		}
	}
	return fmt.Sprintf("%s:%d", found[1], line)
}
