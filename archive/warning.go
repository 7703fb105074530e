package archive

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Warning is one thing that did not go as it should but did not spoil the
// archive. As JSON it keeps a name that is not UTF-8.
type Warning struct {
	Part     string
	Code     string // a stable word, such as "file_vanished"
	Name     string // of the thing
	Sentence string // for people
}

// warningLine is how a warning is written.
type warningLine struct {
	Part     string `json:"part"`
	Code     string `json:"code"`
	Name     string `json:"name,omitempty"`
	Name64   []byte `json:"name64,omitempty"` // instead of Name when that is not UTF-8
	Sentence string `json:"sentence"`
}

// MarshalJSON implements [json.Marshaler].
func (w Warning) MarshalJSON() ([]byte, error) {
	line := warningLine{Part: w.Part, Code: w.Code, Name: w.Name, Sentence: Printable(w.Sentence)}
	if !utf8.ValidString(w.Name) {
		line.Name, line.Name64 = "", []byte(w.Name)
	}
	return json.Marshal(line)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (w *Warning) UnmarshalJSON(b []byte) error {
	var line warningLine
	if err := json.Unmarshal(b, &line); err != nil {
		return err
	}
	*w = Warning{Part: line.Part, Code: line.Code, Name: line.Name, Sentence: line.Sentence}
	if line.Name64 != nil {
		w.Name = string(line.Name64)
	}
	return nil
}

// Printable returns s with the bytes that are not UTF-8 written out, as in \xfe.
func Printable(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&out, `\x%02x`, s[i])
		} else {
			out.WriteString(s[i : i+n])
		}
		i += n
	}
	return out.String()
}
