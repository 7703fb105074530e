package project

import (
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/project/internal/pgcustom"
)

func TestReadFailures(t *testing.T) {
	for name, c := range map[string]struct {
		said     string
		failures []failure
		fatal    string
	}{
		"nothing": {"", nil, ""},
		"two errors of an entry": {`pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 7; 1259 1 TABLE a postgres
pg_restore: error: could not execute query: ERROR:  relation "a" does not exist
Command was: SELECT
error: this is of the command
pg_restore: error: could not execute query: ERROR:  the second
pg_restore: from TOC entry 9; 1259 2 TABLE DATA b postgres
pg_restore: error: COPY failed for table "b": ERROR:  no
pg_restore: warning: errors ignored on restore: 3
`, []failure{{"7", `relation "a" does not exist`}, {"9", "no"}}, ""},
		"two workers at once": {`pg_restore: pg_restore: from TOC entry 7; 1 1 SEQUENCE SET a postgres
from TOC entry 9; 1 2 SEQUENCE SET b postgres
pg_restore: error: pg_restore: error: could not execute query: ERROR:  one
could not execute query: ERROR:  two
pg_restore: warning: errors ignored on restore: 2
`, []failure{{"7", ""}, {"9", "one"}}, ""},
		"a prefix before another's entry": {`pg_restore: error: pg_restore: from TOC entry 7; 1 1 INDEX a postgres
could not execute query: ERROR:  one
`, []failure{{"7", "one"}}, ""},
		"one's error before another's entry": {`pg_restore: pg_restore: error: while PROCESSING TOC:
pg_restore: error: from TOC entry 7; 1 1 INDEX a postgres
could not execute query: ERROR:  one
`, []failure{{"7", "one"}}, ""},
		"half a prefix": {`pg_restore:pg_restore: from TOC entry 7; 1 1 INDEX a postgres
pg_restore: error: could not execute query: ERROR:  one
 executing SEQUENCE SET loose
`, []failure{{"7", "one"}}, ""},
		"the end": {`pg_restore: from TOC entry 7; 1 1 INDEX a postgres
pg_restore: error: could not execute query: ERROR:  one
pg_restore: error: could not read from input file: end of file
`, []failure{{"7", "one"}}, "pg_restore: error: could not read from input file: end of file"},
		"the server has gone": {`pg_restore: from TOC entry 7; 1 1 INDEX a postgres
pg_restore: error: could not execute query: server closed the connection unexpectedly
`, []failure{{"7", ""}}, "pg_restore: error: could not execute query: server closed the connection unexpectedly"},
	} {
		failures, fatal := readFailures(strings.NewReader(c.said))
		if !slices.Equal(failures, c.failures) || fatal != c.fatal {
			t.Errorf("%s: %q, %q", name, failures, fatal)
		}
	}
}

// TestEntriesAreToldApartExactly has names and owners with spaces, and overloads.
func TestEntriesAreToldApartExactly(t *testing.T) {
	toc := []tocEntry{}
	for _, line := range []string{
		"1; 0 1 MATERIALIZED VIEW DATA public seen by all Odd role",
		"2; 0 2 FUNCTION public f(integer, text) Odd role",
		"3; 0 3 FUNCTION public f(integer) Odd role",
		"4; 0 4 TABLE DATA public a b owner",
		"5; 0 5 TABLE DATA public a owner",
		"6; 0 6 CONSTRAINT public a a pkey owner",
		"7; 0 7 ACL public TABLE a b owner",
		"8; 0 8 EXTENSION - uuid-ossp extra ",
		"9; 0 9 POLICY public a own rows owner",
	} {
		e, ok := parseTOC(line)
		if !ok {
			t.Fatal(line)
		}
		toc = append(toc, e)
	}
	exactly(toc, []pgcustom.Entry{
		{ID: 1, Kind: "MATERIALIZED VIEW DATA", Schema: "public", Tag: "seen by all", Owner: "Odd role"},
		{ID: 2, Kind: "FUNCTION", Schema: "public", Tag: "f(integer, text)", Owner: "Odd role"},
		{ID: 3, Kind: "FUNCTION", Schema: "public", Tag: "f(integer)", Owner: "Odd role"},
		{ID: 8, Kind: "EXTENSION", Tag: "uuid-ossp extra"},
	})
	if e := toc[0]; e.tag != "seen by all" || e.owner != "Odd role" || toc[7].schema != "-" {
		t.Errorf("got %+v, %+v", e, toc[7])
	}
	about := func(list string, of object) (ids []string) {
		for _, e := range toc {
			if e.isAbout(difference{list: list, of: of}) {
				ids = append(ids, e.id)
			}
		}
		return ids
	}
	for _, c := range []struct {
		name, list string
		of         object
		want       []string
	}{
		{"an overload", "functions", object{"name": "public.f(integer)"}, []string{"3"}},
		{"the other", "functions", object{"name": "public.f(integer,text)"}, []string{"2"}},
		{"a table that another begins with", "relations", object{"name": "public.a"}, []string{"5"}},
		{"a table with a space", "relations", object{"name": `public."a b"`}, []string{"4", "7"}},
		{"a constraint", "constraints", object{"relation": "public.a", "name": "a pkey"}, []string{"6"}},
		{"a constraint of a longer name", "constraints", object{"relation": "public.a", "name": "a"}, nil},
		{"a policy", "policies", object{"relation": "public.a", "name": "own rows"}, []string{"9"}},
		{"an extension", "extensions", object{"name": "uuid-ossp extra"}, []string{"8"}},
		{"a shorter extension", "extensions", object{"name": "uuid-ossp"}, nil},
	} {
		if got := about(c.list, c.of); !slices.Equal(got, c.want) {
			t.Errorf("%s: entries %v, want %v", c.name, got, c.want)
		}
	}
}
