package project_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

// TestADatabaseOfAnyNameComesBack and an undo and a drop find it: PostgreSQL cuts names
// to 63 bytes, without an error where SQL has them quoted.
func TestADatabaseOfAnyNameComesBack(t *testing.T) {
	pg := testenv.NewPostgres(t, 17)
	long := strings.Repeat("x", 62)
	names := []string{long + "a", long + "b", strings.Repeat("ü", 31) + "z", strings.Repeat("日本語", 7), strings.Repeat("𝄞", 15) + "abc", "x", `My "odd"/%41 ?#&'\ name`, " ", "_supabase" + strings.Repeat("y", 54)}
	targets := map[string]project.Target{}
	for i, name := range names {
		if err := pg.Exec(t.Context(), "postgres", "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
			t.Fatal(err)
		}
		if err := pg.Exec(t.Context(), name, fmt.Sprintf("CREATE TABLE t AS SELECT %d AS n", i)); err != nil {
			t.Fatal(err)
		}
	}
	row := func(name string) (n int) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), pg.URL(name))
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		defer conn.Close(t.Context())
		if err := conn.QueryRow(t.Context(), "SELECT n FROM t").Scan(&n); err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		return n
	}
	part := &project.DatabasePart{}
	for i, name := range names { // all are restored before one is undone
		srv := server(pg.URL(name), pg.Bin)
		b, _, err := dump(t, project.Project{Parts: database(time.Minute), Server: srv})
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if err := pg.Exec(t.Context(), name, "UPDATE t SET n = n + 100"); err != nil {
			t.Fatal(err)
		}
		to, _ := target(t, b, project.Database, srv)
		to.ID = fmt.Sprintf("idof00000%d", i)
		build(t, part.Restoration(to), b, to)
		for range 2 {
			if err := part.Restoration(to).Swap(t.Context()); err != nil {
				t.Fatalf("%q: %v", name, err)
			}
		}
		if got := row(name); got != i {
			t.Errorf("%q: after the restore: %d, want %d", name, got, i)
		}
		targets[name] = to
	}
	for i, name := range names {
		kept := part.Kept(targets[name])
		if i%3 != 2 { // of some the restore stays
			for range 2 {
				if err := kept.Undo(t.Context()); err != nil {
					t.Fatalf("%q: %v", name, err)
				}
			}
			if got := row(name); got != i+100 {
				t.Errorf("%q: after the undo: %d, want %d", name, got, i+100)
			}
		}
		for range 2 {
			if err := kept.Drop(t.Context()); err != nil {
				t.Fatalf("%q: %v", name, err)
			}
		}
		if got, want := row(name), map[bool]int{true: i, false: i + 100}[i%3 == 2]; got != want {
			t.Errorf("%q: after the drop: %d, want %d", name, got, want)
		}
	}
	if left := sh(t, t.TempDir(), pg.Bin+"/psql -Atc \"SELECT datname FROM pg_database WHERE datname ~ '_before_|^holdfast_'\" '"+pg.URL("postgres")+"'"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}
