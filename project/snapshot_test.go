package project_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

// prints is a fingerprint as others read it.
type prints struct {
	Format    int
	Databases map[string]struct {
		Tables          map[string]int64
		Sequences       map[string]*int64
		Objects         map[string][]map[string]any
		ExtensionTables []extensionTable `json:"extension_tables"`
	}
}

type extensionTable struct {
	Schema, Name, Extension, Version, Condition, File string
	Rows                                              int64
	Outside                                           bool
	Columns, Create                                   []string
	Sequences                                         map[string]*int64
}

func readPrints(t *testing.T, dir string) (f prints) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "database/fingerprint.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// dumped returns the rows of a table in an unpacked archive, one a line.
func dumped(t *testing.T, pg *testenv.Postgres, dir, table string) string {
	t.Helper()
	return sh(t, dir, "find database/postgres.dump -type f | sort | xargs cat > postgres.dump; '"+pg.Bin+"/pg_restore' --data-only --table="+table+" -f - postgres.dump | sed -n '/^COPY/,/^\\\\\\./p' | sed '1d;$d'")
}

func mustExec(t *testing.T, pg *testenv.Postgres, sql string) {
	t.Helper()
	if err := pg.Exec(t.Context(), "postgres", sql); err != nil {
		t.Fatal(err)
	}
}

func session(t *testing.T, pg *testenv.Postgres) *pgx.Conn {
	t.Helper()
	return sessionOn(t, pg, "postgres")
}

func run(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatalf("%v: %s", err, sql)
	}
}

// TestTablesRewrittenWhileTheBackupBegins holds a transaction open until pg_dump waits for
// it. What it did to the table is no part of any snapshot.
func TestTablesRewrittenWhileTheBackupBegins(t *testing.T) {
	for _, major := range []int{15, 17} {
		pg := testenv.NewPostgres(t, major)
		for name, change := range map[string]string{
			"truncated":  "TRUNCATE report; INSERT INTO report SELECT generate_series(1, 1000)",
			"rewritten":  "ALTER TABLE report ALTER n TYPE bigint",
			"swapped":    "CREATE TABLE next AS SELECT generate_series(1, 1000) AS n; ALTER TABLE report RENAME TO former; ALTER TABLE next RENAME TO report",
			"restricted": "ALTER TABLE report DROP COLUMN gone",
		} {
			mustExec(t, pg, "DROP TABLE IF EXISTS report, former; CREATE TABLE report (n int, gone int); INSERT INTO report SELECT generate_series(1, 1000)")
			conn := session(t, pg)
			run(t, conn, "BEGIN; "+change)
			commits := make(chan error, 1)
			go func() {
				err := waitFor(t, pg, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessShareLock')")
				if err == nil {
					_, err = conn.Exec(t.Context(), "COMMIT")
				}
				commits <- err
			}()
			b, ws, err := dump(t, project.Project{Parts: database(time.Minute), Server: server(pg.URL("postgres"), pg.Bin)})
			if cerr := <-commits; cerr != nil || err != nil || len(ws) > 0 {
				t.Fatalf("%d, %s: %v, %v, warnings %v", major, name, err, cerr, ws)
			}
			dir := unpack(t, b)
			if n := readPrints(t, dir).Databases["postgres"].Tables["public.report"]; n != 1000 {
				t.Errorf("%d, %s: %d rows in the fingerprint", major, name, n)
			}
			if n := strings.Count(dumped(t, pg, dir, "report"), "\n"); n != 1000 {
				t.Errorf("%d, %s: %d rows in the dump", major, name, n)
			}
		}
	}
}

// waitFor waits until a query says true.
func waitFor(t *testing.T, pg *testenv.Postgres, query string) error {
	conn, err := pgx.Connect(t.Context(), pg.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	for yes := false; !yes; {
		if err := conn.QueryRow(t.Context(), query).Scan(&yes); err != nil {
			return err
		}
	}
	return nil
}

// repeat runs scripts again and again beside a test, in a session each, until stop is
// called, and each of their statements in a transaction of its own. Errors of the
// statements are of no interest.
func repeat(t *testing.T, pg *testenv.Postgres, scripts ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	for _, s := range scripts {
		conn := session(t, pg)
		go func() {
			for ctx.Err() == nil {
				for stmt := range strings.SplitSeq(s, ";") {
					_, _ = conn.Exec(t.Context(), stmt, pgx.QueryExecModeExec)
				}
			}
			ended <- struct{}{}
		}()
	}
	return func() {
		cancel()
		for range scripts {
			<-ended
		}
	}
}

func TestATableThatIsEmptiedAllTheTimeFailsByName(t *testing.T) {
	pg := testenv.NewPostgres(t, 17)
	mustExec(t, pg, "CREATE TABLE busy (n int); CREATE TABLE calm (n int)")
	stop := repeat(t, pg, "TRUNCATE busy; INSERT INTO busy VALUES (1)")
	defer stop()
	_, _, err := dump(t, project.Project{Parts: database(time.Minute), Server: server(pg.URL("postgres"), pg.Bin)})
	wantSentence(t, err, "public.busy")
	if !project.MayRetry(err) || strings.Contains(project.Sentence(err), "calm") {
		t.Errorf("%v, may be tried again: %v", err, project.MayRetry(err))
	}
}

// TestBackupsBesideMigrations makes, changes and drops all kinds of things beside backups.
func TestBackupsBesideMigrations(t *testing.T) {
	for _, major := range []int{15, 17} {
		pg := testenv.NewPostgres(t, major)
		mustExec(t, pg, "CREATE TABLE kept AS SELECT generate_series(1, 5000) AS n; CREATE TABLE m (c1 int); INSERT INTO m VALUES (1)")
		stop := repeat(t, pg,
			"ALTER TABLE m ADD c2 int; SELECT pg_sleep(0.4); ALTER TABLE m DROP c2; SELECT pg_sleep(0.4)",
			"CREATE TABLE t1 (id serial PRIMARY KEY, v text); CREATE INDEX ON t1 (v); SELECT pg_sleep(0.4); ALTER TABLE t1 ALTER id TYPE bigint; DROP TABLE t1; SELECT pg_sleep(0.4)",
			"CREATE TYPE mood AS ENUM ('a'); CREATE FUNCTION f(m mood) RETURNS mood LANGUAGE sql AS 'SELECT m'; CREATE VIEW vm AS SELECT f('a'); SELECT pg_sleep(0.4); DROP VIEW vm; DROP FUNCTION f(mood); DROP TYPE mood; SELECT pg_sleep(0.4)")
		for i := range 8 {
			b, ws, err := dump(t, project.Project{Parts: database(time.Minute), Server: server(pg.URL("postgres"), pg.Bin)})
			if err != nil || len(ws) > 0 {
				t.Errorf("%d, backup %d: %v, warnings %v", major, i, err, ws)
				continue
			}
			if n := readPrints(t, unpack(t, b)).Databases["postgres"].Tables; n["public.kept"] != 5000 || n["public.m"] != 1 {
				t.Errorf("%d, backup %d: %v", major, i, n)
			}
		}
		stop()
	}
}

// TestStorageSeesItsTable backs up the storage alone while its table is rewritten.
func TestStorageSeesItsTable(t *testing.T) {
	src := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: 15, Objects: 20})
	conn := session(t, src.DB)
	run(t, conn, "BEGIN; ALTER TABLE storage.objects ADD COLUMN extra int DEFAULT random(); LOCK TABLE auth.users")
	commits := make(chan error, 1)
	go func() {
		err := waitFor(t, src.DB, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessShareLock')")
		if err == nil {
			_, err = conn.Exec(t.Context(), "COMMIT; BEGIN; LOCK TABLE auth.users")
		}
		commits <- err
	}()
	b, ws, err := dump(t, project.Project{Parts: []project.Part{&project.StoragePart{Path: src.StorageRoot()}}, Server: server(src.DB.URL("postgres"), src.DB.Bin)})
	if cerr := <-commits; err != nil || cerr != nil || len(ws) > 0 {
		t.Fatalf("%v, %v, warnings %v", err, cerr, ws)
	}
	files := 0
	for _, e := range entries(t, b) {
		if e.Kind == archive.File && strings.HasPrefix(e.Name, "storage/") {
			files++
		}
	}
	if files != 20 {
		t.Errorf("%d files, want 20", files)
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func sessionOn(t *testing.T, pg *testenv.Postgres, database string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pg.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// TestAListThatIsBlockedIsBegunAgain blocks the list of objects while pg_dump waits for it.
// Who blocks it may itself be waiting for pg_dump.
func TestAListThatIsBlockedIsBegunAgain(t *testing.T) {
	pg := testenv.NewPostgres(t, 17)
	mustExec(t, pg, `CREATE SCHEMA cron; CREATE FUNCTION cron.gate() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_catalog.pg_advisory_xact_lock(1); RETURN true; END $$;
		CREATE VIEW cron.job AS SELECT 1 AS jobid, '' AS schedule, cron.gate() AS active, '' AS command`)
	holder := session(t, pg)
	run(t, holder, "SELECT pg_advisory_lock(1)")
	lists := make(chan int, 1)
	go func() {
		seen := map[uint32]bool{}
		for end := time.Now().Add(30 * time.Second); len(seen) < 2 && time.Now().Before(end); {
			var pid uint32
			if holder.QueryRow(t.Context(), "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").Scan(&pid) == nil {
				seen[pid] = true
			}
		}
		_, _ = holder.Exec(t.Context(), "SELECT pg_advisory_unlock(1)")
		lists <- len(seen)
	}()
	_, ws, err := dump(t, project.Project{Parts: database(time.Minute), Server: server(pg.URL("postgres"), pg.Bin)})
	if n := <-lists; err != nil || len(ws) > 0 || n != 2 {
		t.Errorf("%v, warnings %v, %d sessions", err, ws, n)
	}
}
