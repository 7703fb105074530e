package project_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
	"github.com/holdfast-dev/holdfast/testenv/dbstate"
)

// trip is a database that is made, backed up and restored.
type trip struct {
	name   string
	major  int    // of the only server that knows the case; 0: of all
	locale string // options of CREATE DATABASE
	sql    string // makes the database; $DB is its name
	after  string // runs between backup and restore, in another database

	query, want string   // what the database answers before and after
	backup      string   // a warning of the backup; "": there are none
	warnings    string   // of the restore
	differs     []string // lines of the state, by their beginnings, that may differ
	change      func(*project.Target)
}

// restoreIDs makes the names of what restores build different on one server.
var restoreIDs atomic.Int64

// databaseOf makes a database of its own for a case, with what the case wants in it.
func databaseOf(t *testing.T, pg *testenv.Postgres, sql string, locale ...string) (name string) {
	t.Helper()
	name = fmt.Sprintf("case_%d", restoreIDs.Add(1))
	mustExec(t, pg, "CREATE DATABASE "+name+" TEMPLATE template0 "+strings.Join(locale, " "))
	if err := pg.Exec(t.Context(), name, strings.ReplaceAll(sql, "$DB", name)); err != nil {
		t.Fatal(err)
	}
	return name
}

// backUp backs a database up and returns the warnings too.
func backUp(t *testing.T, pg *testenv.Postgres, name string) ([]byte, []project.Warning) {
	t.Helper()
	b, ws, err := dump(t, project.Project{Parts: database(time.Minute), Server: server(pg.URL(name), pg.Bin)})
	if err != nil {
		t.Fatalf("backup: %v", err)
	}
	return b, ws
}

// judged restores a database as a worker does: it looks first, and what it then says must
// come true.
func judged(t *testing.T, b []byte, pg *testenv.Postgres, url string, change func(*project.Target)) (said string, err error) {
	t.Helper()
	to, ws := target(t, b, project.Database, server(url, pg.Bin))
	to.ID = fmt.Sprintf("case%d", restoreIDs.Add(1))
	if change != nil {
		change(&to)
	}
	r := (&project.DatabasePart{}).Restoration(to)
	checks, err := r.Check(t.Context())
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	refused := slices.ContainsFunc(checks, func(c project.Check) bool { return c.Problem != "" && (!c.Judgment || !to.Force) })
	if err = r.Build(t.Context(), reader(b, to.Source)); err == nil {
		err = r.Swap(t.Context())
	}
	if refused != (err != nil) {
		t.Errorf("the check said %q, but the restore ended with %v", problems(checks), err)
	}
	if derr := r.Discard(t.Context()); derr != nil {
		t.Errorf("discard: %v", derr)
	}
	if slices.ContainsFunc(databases(t, pg), func(n string) bool { return strings.HasPrefix(n, "holdfast_new_"+to.ID) }) {
		t.Error("a database that was built is left")
	}
	return sentencesOf(*ws), err
}

// describe describes a database without the help of the code under test.
func describe(t *testing.T, pg *testenv.Postgres, name string) map[string][]string {
	t.Helper()
	s, err := dbstate.State(t.Context(), pg.URL(name))
	if err != nil {
		t.Fatal(err)
	}
	if s["schema"], err = dbstate.Schema(t.Context(), pg.Bin, pg.URL(name)); err != nil {
		t.Fatal(err)
	}
	return s
}

// patient returns the URL of a database for sessions that no timeout ends.
func patient(pg *testenv.Postgres, name string) string {
	url := pg.URL(name) + "?statement_timeout=0&idle_in_transaction_session_timeout=0&idle_session_timeout=0&default_transaction_read_only=off"
	if pg.Major >= 17 {
		url += "&transaction_timeout=0"
	}
	return url
}

// ask returns the rows that a database answers with, in a session of its own.
func ask(t *testing.T, pg *testenv.Postgres, name, query string) string {
	t.Helper()
	return strings.TrimSpace(psql(t, pg, name, query))
}

// run makes the round trip of a case.
func (c trip) run(t *testing.T, pg *testenv.Postgres) {
	t.Helper()
	name := databaseOf(t, pg, c.sql, c.locale)
	if c.query != "" && ask(t, pg, name, c.query) != c.want {
		t.Fatalf("before: %s, want %s", ask(t, pg, name, c.query), c.want)
	}
	before := describe(t, pg, name)
	b, ws := backUp(t, pg, name)
	if said := fmt.Sprint(ws); c.backup == "" && len(ws) > 0 || !strings.Contains(said, c.backup) {
		t.Errorf("warnings of the backup: %s, want %q", said, c.backup)
	}
	if c.after != "" {
		mustExec(t, pg, strings.ReplaceAll(c.after, "$DB", name))
	}
	said, err := judged(t, b, pg, pg.URL(name), c.change)
	if err != nil {
		t.Fatalf("restore: %v", err)
	}
	if said != c.warnings {
		t.Errorf("warnings: %s, want %s", said, c.warnings)
	}
	if c.query != "" && ask(t, pg, name, c.query) != c.want {
		t.Errorf("after: %s, want %s", ask(t, pg, name, c.query), c.want)
	}
	sameState(t, before, describe(t, pg, name), c.differs...)
}

// sameState compares two descriptions, apart from lines that begin so.
func sameState(t *testing.T, before, after map[string][]string, but ...string) {
	t.Helper()
	lines := slices.DeleteFunc(dbstate.Diff(before, after), func(line string) bool {
		return slices.ContainsFunc(but, func(begin string) bool { return begin != "" && strings.HasPrefix(line, begin) })
	})
	if len(lines) > 0 {
		t.Errorf("%d differences, such as\n%s", len(lines), strings.Join(lines[:min(len(lines), 12)], "\n"))
	}
}

// runTrips makes round trips on servers of both versions.
func runTrips(t *testing.T, trips []trip, settings ...string) {
	t.Helper()
	for _, major := range []int{15, 17} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			pg := testenv.NewPostgres(t, major, settings...)
			for _, c := range trips {
				if c.major == 0 || c.major == major {
					t.Run(c.name, func(t *testing.T) { c.run(t, pg) })
				}
			}
		})
	}
}

// buildOnly builds and discards, and returns the error of the build.
func buildOnly(t *testing.T, b []byte, to project.Target) error {
	t.Helper()
	r := (&project.DatabasePart{}).Restoration(to)
	err := r.Build(t.Context(), reader(b, to.Source))
	if derr := r.Discard(t.Context()); derr != nil {
		t.Errorf("discard: %v", derr)
	}
	return err
}
