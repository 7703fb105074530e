package supabase

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
)

// assignment matches what stands before a value in a file of variables.
var assignment = regexp.MustCompile(`(?m)^\x{feff}?[ \t]*(?:export[ \t]+)?([\pL\pN_.\-\[\]]+)[ \t]*[=:][ \t]*`)

// plainValue matches what needs no quotes, neither for compose nor for a shell.
var plainValue = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=-]+$`)

// replaceNext gives another value to the first variable behind an offset that has the
// old one, and returns the file and the offset behind that variable. Without such a
// variable the file is nil. Nothing else of the file changes.
func replaceNext(text []byte, from int, old, value string) (changed []byte, to int) {
	if from == 0 && strings.TrimRight(string(text), "\r\n") == old { // a file with a secret
		return append([]byte(value), text[len(old):]...), len(text)
	}
	vars := parseEnv(text)
	for _, at := range assignment.FindAllSubmatchIndex(text, -1) {
		begin := at[1]
		if begin < from || vars[string(text[at[2]:at[3]])] != old {
			continue
		}
		end := endOfValue(text, begin)
		for _, quoted := range quotings(value, text[begin:end]) {
			next := bytes.Join([][]byte{text[:begin], []byte(quoted), text[end:]}, nil)
			if parseEnv(next)[string(text[at[2]:at[3]])] == value {
				return next, begin + len(quoted)
			}
		}
	}
	return nil, len(text)
}

func parseEnv(text []byte) map[string]string {
	vars, err := dotenv.ParseWithLookup(bytes.NewReader(text), func(string) (string, bool) { return "", false })
	if err != nil {
		return nil
	}
	return vars
}

// endOfValue returns where a value ends, with its quotes.
func endOfValue(text []byte, begin int) int {
	if begin < len(text) && (text[begin] == '\'' || text[begin] == '"') {
		for i := begin + 1; i < len(text); i++ {
			switch text[i] {
			case '\\':
				i++
			case text[begin]:
				return i + 1
			}
		}
		return len(text)
	}
	value, _, _ := bytes.Cut(text[begin:], []byte("\n"))
	value, _, _ = bytes.Cut(value, []byte(" #"))
	return begin + len(bytes.TrimRight(value, " \t\r"))
}

// quotings returns how a value may be written: like the old one if that is possible,
// and so that a shell understands it if that is possible.
func quotings(value string, old []byte) (out []string) {
	single := "'" + strings.ReplaceAll(value, "'", `\'`) + "'"
	double := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`).Replace(value) + `"`
	plain := plainValue.MatchString(value)
	switch {
	case bytes.HasPrefix(old, []byte(`"`)):
		out = append(out, double)
	case bytes.HasPrefix(old, []byte("'")) && !strings.Contains(value, "'"):
		out = append(out, single)
	}
	if plain {
		out = append(out, value)
	}
	if !strings.Contains(value, "'") {
		out = append(out, single)
	}
	return append(out, double, single)
}
