package project_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

// heartbeat has a job of pg_cron that writes the time, and what needs the extension.
const heartbeat = `CREATE EXTENSION pg_cron; CREATE TABLE public.beat (at timestamptz); INSERT INTO public.beat VALUES ('2026-01-01');
SELECT cron.schedule('beat', '* * * * *', 'UPDATE public.beat SET at = clock_timestamp()'); SELECT cron.schedule('paused', '0 0 * * *', 'SELECT 1'); UPDATE cron.job SET active = false WHERE jobname = 'paused';
CREATE VIEW public.jobs AS SELECT jobname FROM cron.job; GRANT USAGE ON SCHEMA cron TO pg_monitor; CREATE INDEX ON cron.job_run_details (start_time);
CREATE FUNCTION public.slow() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_catalog.pg_sleep(1); RETURN 1; END $$; CREATE MATERIALIZED VIEW public.seen AS SELECT count(*), public.slow() FROM cron.job`

// cronServer is a server whose pg_cron serves the database postgres.
func cronServer(t *testing.T, major int, sql string, settings ...string) *testenv.Postgres {
	t.Helper()
	pg := testenv.NewCluster(t, testenv.PostgresConfig{Major: major, Image: true, Settings: settings})
	if sql != "" {
		mustExec(t, pg, sql)
	}
	if sql != "" && major == 15 { // pg_cron 1.4 finds its tables only when the server starts
		pg.Signal(syscall.SIGINT)
		if err := pg.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return pg
}

// until waits for a query to answer "t".
func until(t *testing.T, pg *testenv.Postgres, name, query string, limit time.Duration) bool {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < limit; {
		if ask(t, pg, name, query) == "t" {
			return true
		}
	}
	return false
}

// TestJobs restores the database of pg_cron, which can only be made in it: in place, and
// into another project. Jobs run afterwards, or the operator is told what to do.
func TestJobs(t *testing.T) {
	for _, major := range []int{15, 17} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			pg := cronServer(t, major, heartbeat)
			if major == 17 {
				mustExec(t, pg, "SELECT cron.alter_job(jobid, schedule := '1 second') FROM cron.job WHERE jobname = 'beat'")
			}
			const launcher = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type LIKE 'pg_cron%' AND datname = 'postgres')"
			if !until(t, pg, "template1", launcher, 30*time.Second) {
				t.Fatal("no launcher")
			}
			before := describe(t, pg, "postgres")
			b, _ := backUp(t, pg, "postgres")
			mustExec(t, pg, "UPDATE public.beat SET at = '2026-01-01'")
			said, err := judged(t, b, pg, pg.URL("postgres"), nil)
			if err != nil {
				t.Fatal(err)
			}
			dead := `The background worker "pg_cron launcher" of the database has not come back since the swap; restart the database server`
			if major == 17 && said != "" || major == 15 && (!strings.HasPrefix(said, dead) || strings.Contains(said, "\n")) {
				t.Errorf("warnings: %s", said)
			}
			if major == 17 && !until(t, pg, "postgres", "SELECT at > '2026-02-01' FROM public.beat", 30*time.Second) {
				t.Error("no job has run")
			}
			sameState(t, before, describe(t, pg, "postgres"), "rows: - public.beat", "rows: + public.beat", "rows: - cron.job_run_details", "rows: + cron.job_run_details", "sequences: - cron runid_seq", "sequences: + cron runid_seq")
			if got := ask(t, pg, "postgres", "SELECT to_regnamespace('holdfast_restore') IS NULL, datconnlimit, datallowconn FROM pg_database WHERE datname = 'postgres'"); got != "t|-1|t" {
				t.Errorf("the database is not as it was: %s", got)
			}
			if major == 15 {
				return
			}
			t.Run("another project", func(t *testing.T) {
				other := cronServer(t, major, "CREATE ROLE runner SUPERUSER LOGIN PASSWORD 'r'; ALTER ROLE runner SET default_transaction_read_only = on; ALTER DATABASE postgres SET default_transaction_read_only = on")
				said, err := judged(t, b, other, other.URLAs("runner", "r", "postgres"), func(to *project.Target) { to.Foreign = true })
				if err != nil || !strings.Contains(said, "1 cron jobs of the other project are disabled") {
					t.Errorf("%v, %s", err, said)
				}
				if got := ask(t, other, "postgres", "SELECT jobname, active, database FROM cron.job ORDER BY 1; SELECT count FROM public.seen"); got != "beat|f|postgres\npaused|f|postgres\n2" {
					t.Errorf("jobs %s", got)
				}
			})
			t.Run("a server whose jobs are in another database", func(t *testing.T) {
				other := cronServer(t, major, "", "cron.database_name=jobs")
				to, _ := target(t, b, project.Database, server(other.URL("postgres"), other.Bin))
				checks, err := (&project.DatabasePart{}).Restoration(to).Check(t.Context())
				if got := strings.Join(problems(checks), " "); err != nil || !strings.Contains(got, "The server cannot make the extension pg_cron") || !strings.Contains(got, "jobs") || !strings.Contains(got, "cron.database_name") {
					t.Errorf("%s, %v", got, err)
				}
				if _, err := judged(t, b, other, other.URL("postgres"), nil); err == nil {
					t.Error("restored without jobs")
				}
				said, err := judged(t, b, other, other.URL("postgres"), func(to *project.Target) { to.Force = true })
				if err != nil || strings.Count(said, "The extension pg_cron is missing") != 1 {
					t.Errorf("forced: %v, %s", err, said)
				}
			})
		})
	}
}

// TestSwapThatIsCutOff ends a swap while it makes what had to wait for the name of the
// database; the next one finishes it.
func TestSwapThatIsCutOff(t *testing.T) {
	pg := cronServer(t, 17, heartbeat)
	before := describe(t, pg, "postgres")
	b, _ := backUp(t, pg, "postgres")
	to, ws := target(t, b, project.Database, server(pg.URL("postgres"), pg.Bin))
	part := &project.DatabasePart{}
	r := part.Restoration(to)
	if err := r.Build(t.Context(), reader(b, to.Source)); err != nil {
		t.Fatal(err)
	}
	ctx, cut := context.WithCancel(t.Context())
	go func() {
		defer cut()
		for ctx.Err() == nil && ask(t, pg, "template1", "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'postgres' AND query LIKE '%REFRESH%' AND wait_event = 'PgSleep')") != "t" {
		}
	}()
	if err := r.Swap(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("a swap that was cut off: %v", err)
	}
	if got := ask(t, pg, "template1", "SELECT count(*) FROM pg_database WHERE datname = 'postgres' AND datconnlimit = 0"); got != "1" {
		t.Errorf("the database is open before it is complete: %s", got)
	}
	again := part.Restoration(to) // another process
	for range 2 {
		if err := again.Swap(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if said := sentencesOf(*ws); said != "" {
		t.Errorf("warnings: %s", said)
	}
	sameState(t, before, describe(t, pg, "postgres"), "rows: - cron.job_run_details", "rows: + cron.job_run_details", "rows: - public.beat", "rows: + public.beat", "sequences: - cron runid_seq", "sequences: + cron runid_seq")
	if got := ask(t, pg, "template1", "SELECT datconnlimit, datallowconn FROM pg_database WHERE datname = 'postgres'"); got != "-1|t" {
		t.Errorf("the database is not open: %s", got)
	}
}

// TestSwapThatIsTurnedBack lets what had to wait for the name fail: the old database is
// there and open as before.
func TestSwapThatIsTurnedBack(t *testing.T) {
	pg := cronServer(t, 17, heartbeat)
	b, _ := backUp(t, pg, "postgres")
	mustExec(t, pg, "CREATE TABLE public.only_here (n int); ALTER DATABASE postgres CONNECTION LIMIT 17")
	before := describe(t, pg, "postgres")
	to, _ := target(t, b, project.Database, server(pg.URL("postgres"), pg.Bin))
	r := (&project.DatabasePart{}).Restoration(to)
	if err := r.Build(t.Context(), reader(b, to.Source)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(pg.ExtensionDir(), "pg_cron*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	err = r.Swap(t.Context())
	wantSentence(t, err, "pg_cron")
	if project.MayRetry(err) {
		t.Errorf("%v may be tried again", err)
	}
	sameState(t, before, describe(t, pg, "postgres"), "rows: - cron.job_run_details", "rows: + cron.job_run_details", "rows: - public.beat", "rows: + public.beat", "sequences: - cron runid_seq", "sequences: + cron runid_seq")
	if err := r.Discard(t.Context()); err != nil {
		t.Error(err)
	}
	if got := strings.Join(databases(t, pg), " "); got != "postgres template0 template1" {
		t.Errorf("databases %s", got)
	}
}
