package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/testenv"
)

// facts describes a project: a dump of its schema, the rows of its tables, its
// roles' settings, and its files.
func facts(t *testing.T, s *testenv.Supabase) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(sh(t, s.Dir, s.DB.Bin+"/pg_dump --schema-only '"+s.DB.URL("postgres")+"' | grep -v '^\\\\' | grep -vE '^(--|GRANT |REVOKE |$)'"))
	conn, err := pgx.Connect(t.Context(), s.DB.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE relkind IN ('r', 'm') AND nspname NOT LIKE 'pg\_%' AND nspname NOT IN ('information_schema', 'net') ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	names = append(names, "(SELECT setdatabase = 0, setrole, setconfig FROM pg_db_role_setting WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = 'postgres')))")
	for _, name := range names {
		var sum string
		if err := conn.QueryRow(t.Context(), "SELECT count(*) || ' ' || coalesce(md5(string_agg(x::text, E'\\n' ORDER BY x::text)), '') FROM "+name+" x").Scan(&sum); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, name, sum)
	}
	const list = `find . -mindepth 1 -not -path '*/.holdfast-*' -printf '%P %y %m %l\n' | LC_ALL=C sort; find . -type f -not -path '*/.holdfast-*' -print0 | LC_ALL=C sort -z | xargs -0r sha256sum; find . -type f -not -path '*/.holdfast-*' -print0 | LC_ALL=C sort -z | xargs -0r getfattr -d 2>/dev/null`
	b.WriteString(sh(t, s.Dir, list))
	return b.String()
}

func same(t *testing.T, when, want, got string) {
	t.Helper()
	if want == got {
		return
	}
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			t.Errorf("%s, line %d: got\n%s\nwant\n%s", when, i, g[i], w[i])
			return
		}
	}
	t.Errorf("%s: %d lines, want %d", when, len(g), len(w))
}

// damage does to a project what a bad night does.
func damage(t *testing.T, s *testenv.Supabase) {
	t.Helper()
	if err := s.DB.Exec(t.Context(), "postgres", `
DROP TABLE public.events CASCADE; DELETE FROM public.orders WHERE id % 3 = 0; UPDATE public.profiles SET name = 'x';
CREATE TABLE public.added (id int PRIMARY KEY, profile uuid REFERENCES public.profiles); CREATE VIEW public.added_view AS SELECT * FROM public.orders;
REVOKE ALL ON public.profiles FROM authenticated; DROP POLICY own_orders ON public.orders; ALTER TABLE public.profiles DISABLE ROW LEVEL SECURITY;
ALTER DATABASE postgres RESET app.settings.jwt_exp; DROP EVENT TRIGGER user_note_drop; DELETE FROM vault.secrets;
SET storage.allow_delete_query = 'true'; DELETE FROM storage.objects WHERE bucket_id = 'avatars'`); err != nil {
		t.Fatal(err)
	}
	sh(t, s.Dir, `rm -r volumes/storage/stub/stub/documents; find volumes/storage -type f -print0 | head -zn 20 | xargs -0 setfattr -x user.supabase.content-type
echo broken > volumes/functions/hello/index.ts; rm -r volumes/functions/_shared; echo LOST=1 > .env.functions; rm run.sh`)
}

type restored struct {
	ID         string
	BackupID   string
	Status     string
	Stage      string
	RestoredAt string
	Duration   *int
	Warnings   []string
	Plan       *struct {
		WouldSucceed bool
		Checks       []struct {
			Name, Sentence string
			OK             bool
		}
	}
	Undone bool
}

func (a answer) restore(t *testing.T) (r restored) {
	t.Helper()
	var w struct{ Restore *restored }
	if err := json.Unmarshal([]byte(a.body), &w); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	if w.Restore != nil {
		return *w.Restore
	}
	if err := json.Unmarshal([]byte(a.body), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRestore(t *testing.T) {
	for _, major := range []int{15, 17} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			src, project := supabaseProject(t, testenv.SupabaseConfig{Major: major, Objects: 120})
			dir := t.TempDir()
			d := start(t, config(dir+"/data", dir+"/backups", project, ""))
			d.ready()
			a := d.call("POST", "/backups", full)
			d.want(a, 201)
			id := a.backup()["id"].(string)
			before := facts(t, src)
			damage(t, src)
			damaged := facts(t, src)

			dry := d.call("POST", "/backups/"+id+"/restore", `{"dryRun":true}`)
			d.want(dry, 200, `"success":true`)
			if r := dry.restore(t); r.Plan == nil || !r.Plan.WouldSucceed || r.RestoredAt != "" {
				t.Errorf("dry run: %s", dry.body)
			}
			same(t, "after the dry run", damaged, facts(t, src))

			r := d.call("POST", "/backups/"+id+"/restore", `{"restoreTypes":["full"]}`, "Idempotency-Key", "r")
			d.want(r, 200, `{"success":true,"restore":{"backupId":"`+id+`","projectId":"p","duration":`, `"warnings":[`)
			for _, w := range r.restore(t).Warnings { // of 15, whose pg_cron ends for ever when it is disconnected
				if major != 15 || !strings.Contains(w, "pg_cron launcher") {
					t.Errorf("warning: %s", w)
				}
			}
			same(t, "after the restore", before, facts(t, src))
			d.want(d.call("POST", "/backups/"+id+"/restore", `{"restoreTypes":["full"]}`, "Idempotency-Key", "r"), 200, r.restore(t).ID)
			d.want(d.call("GET", "/backups/"+id, ""), 200, `"restoreHistory":[{"restoredAt":"`+r.restore(t).RestoredAt, `"status":"completed"`)
			d.want(d.call("GET", "/restores/"+r.restore(t).ID, ""), 200, `"status":"completed"`, `"stage":"ready"`)
			d.want(d.call("GET", "/backups?stats=true", ""), 200, `"total":2`, `"origin":"safety"`)

			d.want(d.call("POST", "/restores/"+r.restore(t).ID+"/undo", ""), 200, `"undone":true`)
			same(t, "after the undo", damaged, facts(t, src))
			d.want(d.call("POST", "/restores/"+r.restore(t).ID+"/undo", ""), 409, "undone already")

			// One part alone: the functions.
			d.want(d.call("POST", "/backups/"+id+"/restore", `{"restoreTypes":["functions"],"safetyBackup":false}`), 200, `"restoreTypes":["functions"]`)
			if got := sh(t, src.Dir, "cat volumes/functions/hello/index.ts; cat .env.functions"); !strings.Contains(got, "zod") || !strings.Contains(got, "LOST=1") {
				t.Errorf("functions: %s", got)
			}
			if m := d.metrics(); !strings.Contains(m, `holdfast_restores{project="p",status="completed"} 2`) || !strings.Contains(m, `holdfast_last_restore_timestamp_seconds{project="p",status="completed"} 1.`) {
				t.Errorf("metrics: %s", m)
			}
		})
	}
}

func TestRestoreIsRefused(t *testing.T) {
	src, project := supabaseProject(t, testenv.SupabaseConfig{Major: 15, Objects: 10})
	dir := t.TempDir()
	d := start(t, config(dir+"/data", dir+"/backups", project, ""))
	d.ready()
	a := d.call("POST", "/backups", full)
	d.want(a, 201)
	id, path := a.backup()["id"].(string), a.backup()["path"].(string)
	b := d.call("POST", "/backups", `{"projectId":"p","type":"config"}`)
	d.want(b, 201)
	restore := "/backups/" + id + "/restore"
	d.want(d.call("POST", restore, `{"restoreTypes":["everything"]}`), 400, "restoreTypes must be some of full, database, storage, functions, config")
	d.want(d.call("POST", restore, `{"forcedRestore":true}`), 400, "forcedRestore")
	d.want(d.call("POST", restore, `{"targetProjectId":"nonesuch"}`), 400, "Project not found")
	d.want(d.call("POST", "/backups/"+b.backup()["id"].(string)+"/restore", `{"restoreTypes":["database"]}`), 400, "holds no database; it holds config")
	d.want(d.call("POST", "/backups/backup-aaaaaaaaaaaaaaaaaaaaaaaaaa/restore", `{}`), 404, "Backup not found")
	d.want(d.call("GET", "/restores/restore-aaaaaaaaaaaaaaaaaaaaaaaaaa", ""), 404, "Restore not found")
	before := facts(t, src)

	// Sessions stand in the way, unless forced.
	conn, err := pgx.Connect(t.Context(), src.DB.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	d.want(d.call("POST", restore, `{}`), 409, "The restore was refused: 1 sessions are connected to the database postgres", "The project is unchanged")
	dry := d.call("POST", restore, `{"dryRun":true}`).restore(t)
	if dry.Plan == nil || dry.Plan.WouldSucceed {
		t.Errorf("dry run: %+v", dry.Plan)
	}
	if _, err := conn.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("the session was ended: %v", err)
	}
	d.want(d.call("POST", restore, `{"restoreTypes":["database"],"forceRestore":true,"safetyBackup":false}`), 200, "1 sessions are connected", `"forced":true`)
	same(t, "after the forced restore", before, facts(t, src))

	// A flipped bit, a cut-off archive, a missing object.
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), whole...)
	flipped[len(flipped)/2] ^= 1
	for what, content := range map[string][]byte{"flipped": flipped, "cut": whole[:len(whole)-1000], "missing": nil} {
		_ = os.Remove(path)
		if content != nil {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got := d.call("POST", restore, `{"forceRestore":true}`)
		d.want(got, 500, `{"success":false,"error":"Restore failed: The archive`, "The project is unchanged", `"code":"restore_failed"`)
		dry := d.call("POST", restore, `{"dryRun":true,"forceRestore":true}`)
		if dry.status == 200 && dry.restore(t).Plan.WouldSucceed {
			t.Errorf("%s: the dry run says that it would succeed", what)
		}
		same(t, what, before, facts(t, src))
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	d.want(d.call("POST", restore, `{"safetyBackup":false}`), 200)
	if left := sh(t, src.Dir, "find . -name '.holdfast-new*' -o -name '.holdfast-ready*'"); left != "" {
		t.Errorf("left behind: %s", left)
	}
	if left, _ := filepath.Glob(dir + "/data/restores/restore-*/"); len(left) > 0 {
		t.Errorf("scratch left behind: %v", left)
	}
}
