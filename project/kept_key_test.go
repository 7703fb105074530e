package project_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

// TestTheKeptRootKeyGoesWithWhatIsKept restores another root key of the vault, and drops
// what was replaced.
func TestTheKeptRootKeyGoesWithWhatIsKept(t *testing.T) {
	pg := testenv.NewPostgres(t, 17)
	key := filepath.Join(t.TempDir(), "pgsodium_root.key")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(key, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	part := &project.DatabasePart{RootKey: func(context.Context) project.Place { return project.Place{Path: key} }}
	mustExec(t, pg, "CREATE TABLE public.t (n int)")
	write(strings.Repeat("a", 64))
	b, _, err := dump(t, project.Project{Parts: []project.Part{part}, Server: server(pg.URL("postgres"), pg.Bin)})
	if err != nil {
		t.Fatal(err)
	}
	write(strings.Repeat("b", 64))
	to, _ := target(t, b, project.Database, server(pg.URL("postgres"), pg.Bin))
	r := part.Restoration(to)
	if err := r.Build(t.Context(), reader(b, to.Source)); err != nil {
		t.Fatal(err)
	}
	if err := r.Swap(t.Context()); err != nil {
		t.Fatal(err)
	}
	files := func() (names []string) {
		t.Helper()
		for _, pattern := range []string{key + "*", to.Scratch + ".root_key*"} {
			found, err := filepath.Glob(pattern)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, found...)
		}
		return names
	}
	if now, err := os.ReadFile(key); err != nil || string(now) != strings.Repeat("a", 64) || len(files()) != 2 {
		t.Fatalf("after the restore: %q, %v, %v", now, err, files())
	}
	for range 2 {
		if err := part.Kept(to).Drop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if now, err := os.ReadFile(key); err != nil || string(now) != strings.Repeat("a", 64) || len(files()) != 1 {
		t.Errorf("after the drop: %q, %v, %v", now, err, files())
	}
}

// TestADatabaseThatCannotBeOpenedIsReplacedByForceOnly since nobody can say what is in it.
func TestADatabaseThatCannotBeOpenedIsReplacedByForceOnly(t *testing.T) {
	pg := testenv.NewPostgres(t, 17)
	name := databaseOf(t, pg, "CREATE TABLE public.t (n int); INSERT INTO public.t VALUES (1)")
	b, _ := backUp(t, pg, name)
	mustExec(t, pg, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS false")
	to, _ := target(t, b, project.Database, server(pg.URL(name), pg.Bin))
	checks, err := (&project.DatabasePart{}).Restoration(to).Check(t.Context())
	if said := strings.Join(problems(checks), " "); err != nil || !strings.Contains(said, "replaced: The database "+name+" cannot be opened, so nobody can say what would be replaced") {
		t.Errorf("%s, %v", said, err)
	}
	if _, err := judged(t, b, pg, pg.URL(name), func(to *project.Target) { to.Force = true }); err != nil {
		t.Errorf("with force: %v", err)
	}
}
