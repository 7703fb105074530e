package project_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

// crafted is an archive's database part that somebody has edited: commands of psql in it
// would leave a mark, and so would any psql that is started.
type crafted struct {
	t    *testing.T
	pg   *testenv.Postgres
	mark string
	to   project.Target
}

func craft(t *testing.T, pg *testenv.Postgres, name string) *crafted {
	t.Helper()
	tools := t.TempDir()
	c := &crafted{t: t, pg: pg, mark: filepath.Join(t.TempDir(), "m")}
	for _, tool := range []string{"pg_dump", "pg_restore", "pg_dumpall"} {
		if err := os.Symlink(filepath.Join(pg.Bin, tool), filepath.Join(tools, tool)); err != nil {
			t.Fatal(err)
		}
	}
	script := fmt.Sprintf("#!/bin/sh\ntouch %s\nexec %s/psql \"$@\"\n", c.mark, pg.Bin)
	if err := os.WriteFile(filepath.Join(tools, "psql"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	b, _ := backUp(t, pg, name)
	c.to, _ = target(t, b, project.Database, server(pg.URL(name), tools))
	if _, err := project.Spool(reader(b, c.to.Source), c.to.Scratch); err != nil {
		t.Fatal(err)
	}
	return c
}

// patch puts text in the place of the filler that follows a word, in one of the files.
func (c *crafted) patch(file, word, text string) {
	c.t.Helper()
	name := filepath.Join(c.to.Scratch, file)
	b, err := os.ReadFile(name)
	if err != nil {
		c.t.Fatal(err)
	}
	at := bytes.Index(b, []byte(word))
	if at < 0 || len(text) > 200 {
		c.t.Fatalf("%q is not in %s, or the text is too long", word, file)
	}
	copy(b[at:], text+strings.Repeat(" ", 200-len(text)))
	if err := os.WriteFile(name, b, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// restore restores what was edited, whatever comes of it, and says that nobody ran the
// commands.
func (c *crafted) restore() {
	c.t.Helper()
	r := (&project.DatabasePart{}).Restoration(c.to)
	err := r.Build(c.t.Context(), nil)
	if err == nil {
		err = r.Swap(c.t.Context())
	}
	c.t.Logf("the restore ended with %v", err)
	if err := r.Discard(c.t.Context()); err != nil {
		c.t.Error(err)
	}
	if _, err := os.Stat(c.mark); !os.IsNotExist(err) {
		c.t.Errorf("a command of psql was run: %v", err)
	}
}

// TestNoDumpRunsCommandsOfPsql edits a definition, rows, and rows that wait for the
// database's name.
func TestNoDumpRunsCommandsOfPsql(t *testing.T) {
	filler := func(letter string) string { return strings.Repeat(letter, 200) }
	t.Run("definition", func(t *testing.T) {
		pg := testenv.NewPostgres(t, 17)
		mustExec(t, pg, "CREATE VIEW public.v AS SELECT '"+filler("A")+"'::text AS x")
		c := craft(t, pg, "postgres")
		c.patch("postgres.dump", "CREATE VIEW public.v", "SELECT 1;\n\\! touch "+c.mark+"\n\\o |touch "+c.mark+"\n--")
		c.restore()
	})
	t.Run("rows", func(t *testing.T) {
		pg := testenv.NewPostgres(t, 15)
		mustExec(t, pg, "CREATE TABLE public.t (x text); INSERT INTO public.t VALUES ('"+filler("B")+"')")
		c := craft(t, pg, "postgres")
		c.patch("postgres.dump", filler("B"), "x\n\\.\n\\! touch "+c.mark+"\n\tx\tx\n")
		c.restore()
	})
	t.Run("rows that wait", func(t *testing.T) {
		pg := cronServer(t, 17, heartbeat)
		mustExec(t, pg, "INSERT INTO cron.job_run_details (jobid, command) VALUES (1, '"+filler("C")+"')")
		c := craft(t, pg, "postgres")
		c.patch("postgres.dump", filler("C"), "x\n\\.\n\\! touch "+c.mark+"\n")
		c.restore()
	})
}
