package supabase

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"

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
