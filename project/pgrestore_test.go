package project

import (
	"slices"
	"strings"
	"testing"
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
