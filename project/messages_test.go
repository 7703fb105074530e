package project_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

// TestWhatALimitedRoleMayNotRead names what stands in the way, and who may read it.
func TestWhatALimitedRoleMayNotRead(t *testing.T) {
	for _, major := range []int{15, 17} {
		pg := testenv.NewPostgres(t, major)
		installExtension(t, pg, "queues", "CREATE TABLE meta (n int); INSERT INTO meta VALUES (1);")
		mustExec(t, pg, "CREATE ROLE reader LOGIN PASSWORD 'r'; CREATE TABLE seen (n int); GRANT SELECT ON seen TO reader")
		try := func() ([]byte, []project.Warning, error) {
			url := strings.Replace(pg.URL("postgres"), testenv.Superuser+":"+testenv.Password, "reader:r", 1)
			return dump(t, project.Project{Parts: database(0), Server: server(url, pg.Bin)})
		}
		for _, c := range []struct{ make, drop, says string }{
			{"CREATE TABLE private (n int)", "DROP TABLE private", "private"},
			{"SELECT lo_from_bytea(4711, 'x')", "SELECT lo_unlink(4711)", "large object 4711"},
			{"ALTER TABLE seen ENABLE ROW LEVEL SECURITY", "ALTER TABLE seen DISABLE ROW LEVEL SECURITY", `table "seen"`},
			{"CREATE SEQUENCE counter", "DROP SEQUENCE counter", "counter"},
		} {
			mustExec(t, pg, c.make)
			_, _, err := try()
			wantSentence(t, err, c.says, "supabase_admin")
			if strings.Contains(project.Sentence(err), "Query was") || project.MayRetry(err) {
				t.Errorf("%d: %v", major, err)
			}
			mustExec(t, pg, c.drop)
		}
		mustExec(t, pg, "CREATE EXTENSION queues")
		b, ws, err := try()
		if err != nil || len(ws) != 2 || ws[0].Code != "extension_rows_missing" || ws[1].Code != "role_passwords_missing" {
			t.Fatalf("%d: %v, warnings %v", major, err, ws)
		}
		if got := sh(t, unpack(t, b), "cat warnings.jsonl"); !strings.Contains(got, `"public.meta"`) || !strings.Contains(got, "supabase_admin") {
			t.Errorf("%d: warnings %s", major, got)
		}
	}
}

// TestACancelledQueryIsNoBrokenConnection cancels the COPY of pg_dump.
func TestACancelledQueryIsNoBrokenConnection(t *testing.T) {
	pg := testenv.NewPostgres(t, 15)
	mustExec(t, pg, "CREATE TABLE big AS SELECT repeat(md5(n::text), 100) AS v FROM generate_series(1, 200000) n")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	conn := session(t, pg)
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			_, _ = conn.Exec(t.Context(), "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY public.big %'")
		}
	}()
	_, _, err := dump(t, project.Project{Parts: database(time.Second), Server: server(pg.URL("postgres"), pg.Bin)})
	stop()
	<-ended
	wantSentence(t, err, "cancelled a query of pg_dump")
	if strings.Contains(project.Sentence(err), "broke") || !project.MayRetry(err) {
		t.Errorf("%v", err)
	}
}

// TestAPoolerIsNamed answers as a connection pooler does that knows few parameters.
func TestAPoolerIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b := pgproto3.NewBackend(c, c)
			if _, err := b.ReceiveStartupMessage(); err == nil {
				b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "08P01", Message: "unsupported startup parameter: lock_timeout"})
				_ = b.Flush()
			}
			_ = c.Close()
		}
	}()
	_, _, err = dump(t, project.Project{Parts: database(0), Server: server("postgres://u:hush@"+l.Addr().String()+"/postgres?sslmode=disable", "")})
	wantSentence(t, err, "pooler", "lock_timeout", "database.url must lead to the database server itself")
}

// TestTheSecondDatabaseMayBeClosed backs up the first one all the same.
func TestTheSecondDatabaseMayBeClosed(t *testing.T) {
	pg := testenv.NewPostgres(t, 17)
	mustExec(t, pg, "CREATE TABLE a (n int)")
	for state, warnings := range map[string]int{"": 0, "ALLOW_CONNECTIONS false": 1, "CONNECTION LIMIT 5": 0} {
		if state != "" {
			mustExec(t, pg, "CREATE DATABASE _supabase")
			mustExec(t, pg, "ALTER DATABASE _supabase "+state)
		}
		b, ws, err := dump(t, project.Project{Parts: database(0), Server: server(pg.URL("postgres"), pg.Bin)})
		if err != nil || len(ws) != warnings || warnings > 0 && ws[0].Code != "internal_database_missing" {
			t.Errorf("%q: %v, warnings %v", state, err, ws)
			continue
		}
		if n := len(readPrints(t, unpack(t, b)).Databases); (n == 2) != (state == "CONNECTION LIMIT 5") {
			t.Errorf("%q: %d databases", state, n)
		}
		mustExec(t, pg, "DROP DATABASE IF EXISTS _supabase")
	}
	// A database whose DROP was interrupted is refused by the server.
	mustExec(t, pg, "CREATE DATABASE _supabase")
	mustExec(t, pg, "UPDATE pg_database SET datconnlimit = -2 WHERE datname = '_supabase'")
	if _, ws, err := dump(t, project.Project{Parts: database(0), Server: server(pg.URL("postgres"), pg.Bin)}); err != nil || len(ws) != 1 || ws[0].Code != "internal_database_missing" {
		t.Errorf("%v, warnings %v", err, ws)
	}
}
