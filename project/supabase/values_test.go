package supabase_test

import (
	"fmt"
	"testing"

	"github.com/holdfast-dev/holdfast/project/supabase"
)

// values are lines of .env, and what compose makes of them. A is set, and EMPTY is
// empty; UNSET is not there.
var values = []struct{ text, want string }{
	{`m$ypass$wor@d`, "m@d"},
	{`a$$b`, "a$b"},
	{`"a$$b"`, "a$b"},
	{`'a$$b'`, "a$$b"},
	{`${UNSET:-dflt}`, "dflt"},
	{`${UNSET-sec}`, "sec"},
	{`${EMPTY-sec}`, ""},
	{`${EMPTY:-sec}`, "sec"},
	{`${UNSET:-${NEITHER:-sec}}`, "sec"},
	{`${A:-${NEITHER:-sec}}`, "one"},
	{`${A:+sec}`, "sec"},
	{`${UNSET:+sec}`, ""},
	{`${A}ret`, "oneret"},
	{`$1abc`, "$1abc"},
	{`'a\'b'`, "a'b"},
	{`"a\"b"`, `a"b`},
	{`'p@ss#w0rd'`, "p@ss#w0rd"},
	{`p@ss#w0rd`, "p@ss#w0rd"},
	{`x # comment`, "x"},
	{`"two\nlines"`, "two\nlines"},
	{` spaces  `, "spaces"},
}

// valuesFolder is a project whose database is given all values.
func valuesFolder() map[string]string {
	env, compose := "A=one\nEMPTY=\nWITH-DASH=1\nPOSTGRES_PASSWORD=x\n", "services:\n  db:\n    image: supabase/postgres\n    environment:\n"
	for i, v := range values {
		env += fmt.Sprintf("V%d=%s\n", i, v.text)
		compose += fmt.Sprintf("      V%d: \"${V%d}\"\n", i, i)
	}
	return map[string]string{".env": env, "docker-compose.yml": compose + "      NESTED: \"${UNSET:-${NEITHER:-${A}}}\"\n      DOLLARS: \"a$$b\"\n"}
}

// TestValuesAreAsComposeHasThem in .env and in compose files.
func TestValuesAreAsComposeHasThem(t *testing.T) {
	_, environment, err := supabase.Composed(t.Context(), folder(t, valuesFolder()))
	if err != nil {
		t.Fatal(err)
	}
	got := environment["db"]
	for i, v := range values {
		if value := got[fmt.Sprintf("V%d", i)]; value != v.want {
			t.Errorf("%s: got %q, want %q", v.text, value, v.want)
		}
	}
	if got["NESTED"] != "one" || got["DOLLARS"] != "a$b" {
		t.Errorf("in the compose file: %q, %q", got["NESTED"], got["DOLLARS"])
	}
}
