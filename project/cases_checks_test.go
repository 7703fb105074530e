package project_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

// notes returns what checks say that is no problem.
func notes(checks []project.Check) string {
	var out []string
	for _, c := range checks {
		if c.Note != "" {
			out = append(out, c.Note)
		}
	}
	return strings.Join(out, " ")
}

// TestWhatTheServerLacks has a tablespace, and access methods of tables, that may not be
// there.
func TestWhatTheServerLacks(t *testing.T) {
	for _, major := range []int{15, 17} {
		pg := testenv.NewPostgres(t, major, "allow_in_place_tablespaces=on")
		mustExec(t, pg, "CREATE TABLESPACE fast LOCATION ''")
		name := databaseOf(t, pg, `CREATE TABLE public.quick (v int PRIMARY KEY USING INDEX TABLESPACE fast) TABLESPACE fast; INSERT INTO public.quick VALUES (1); CREATE TABLE public.plain (v int); CREATE INDEX ON public.plain (v) TABLESPACE fast;
CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler; CREATE TABLE public.other (v int) USING heap2; INSERT INTO public.other VALUES (2); CREATE MATERIALIZED VIEW public.seen USING heap2 AS SELECT v FROM public.other`)
		before := describe(t, pg, name)
		b, _ := backUp(t, pg, name)
		if said, err := judged(t, b, pg, pg.URL(name), nil); err != nil || said != "" {
			t.Fatalf("%d, with the tablespace: %v, %s", major, err, said)
		}
		sameState(t, before, describe(t, pg, name))
		inside := databaseOf(t, pg, "CREATE TABLE public.t AS SELECT 1 AS n", "TABLESPACE fast")
		whole, _ := backUp(t, pg, inside)
		const space = "SELECT spcname FROM pg_database d JOIN pg_tablespace s ON s.oid = d.dattablespace WHERE datname = current_database()"
		if said, err := judged(t, whole, pg, pg.URL(inside), nil); err != nil || said != "" || ask(t, pg, inside, space) != "fast" {
			t.Errorf("%d: %v, %s, the database is in %s", major, err, said, ask(t, pg, inside, space))
		}
		for _, d := range databases(t, pg) {
			if strings.HasPrefix(d, "case_") {
				mustExec(t, pg, "DROP DATABASE "+d)
			}
		}
		mustExec(t, pg, "DROP TABLESPACE fast")
		said, err := judged(t, b, pg, pg.URL(name), nil)
		if err != nil || said != "The server lacks the tablespace fast; tables and indexes are in the default tablespace instead." {
			t.Fatalf("%d, without the tablespace: %v, %s", major, err, said)
		}
		sameState(t, before, describe(t, pg, name), "schema: ") // it names the tablespace
		said, err = judged(t, whole, pg, pg.URL(inside), nil)
		if err != nil || said != "The server lacks the tablespace fast; the database "+inside+" is in the default tablespace instead." || ask(t, pg, inside, space) != "pg_default" {
			t.Errorf("%d: %v, %s", major, err, said)
		}
	}
}

// TestPreparedTransactions says so before anything is closed.
func TestPreparedTransactions(t *testing.T) {
	pg := testenv.NewPostgres(t, 17, "max_prepared_transactions=5")
	name := databaseOf(t, pg, "CREATE TABLE a (n int)")
	b, _ := backUp(t, pg, name)
	conn := sessionOn(t, pg, name)
	for _, s := range []string{"BEGIN", "CREATE TABLE public.pending (i int)", "PREPARE TRANSACTION 'left over'"} {
		run(t, conn, s)
	}
	to, _ := target(t, b, project.Database, server(pg.URL(name), pg.Bin))
	r := (&project.DatabasePart{}).Restoration(to)
	checks, err := r.Check(t.Context())
	want := "Prepared transactions keep the database " + name + " from being replaced (left over); end them with COMMIT PREPARED or ROLLBACK PREPARED."
	if err != nil || !slices.Contains(problems(checks), "prepared_transactions: "+want) {
		t.Errorf("%v, %v", problems(checks), err)
	}
	begin := time.Now()
	for _, force := range []bool{false, true} {
		if _, err := judged(t, b, pg, pg.URL(name), func(to *project.Target) { to.Force = force }); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("force %v: %v", force, err)
		}
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	run(t, conn, "SELECT 1") // nobody was disconnected
	if got := ask(t, pg, "postgres", "SELECT datallowconn FROM pg_database WHERE datname = '"+name+"'"); got != "t" {
		t.Errorf("open: %s", got)
	}
}

// TestPreparedTransactionsAtUndo refuses an undo before anything is closed, and does it
// when they have ended.
func TestPreparedTransactionsAtUndo(t *testing.T) {
	pg := testenv.NewPostgres(t, 17, "max_prepared_transactions=5")
	name := databaseOf(t, pg, "CREATE TABLE a (n int)")
	b, _ := backUp(t, pg, name)
	var to project.Target
	if _, err := judged(t, b, pg, pg.URL(name), func(x *project.Target) { to = *x }); err != nil {
		t.Fatal(err)
	}
	kept := (&project.DatabasePart{}).Kept(to)
	if err := kept.CheckUndo(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn := sessionOn(t, pg, name)
	for _, s := range []string{"BEGIN", "CREATE TABLE public.pending (i int)", "PREPARE TRANSACTION 'left over'"} {
		run(t, conn, s)
	}
	for what, err := range map[string]error{"check": kept.CheckUndo(t.Context()), "undo": kept.Undo(t.Context())} {
		if e, ok := errors.AsType[*project.Error](err); !ok || !e.Refused || !strings.Contains(e.Sentence, "end them with COMMIT PREPARED or ROLLBACK PREPARED") {
			t.Errorf("%s: %v", what, err)
		}
	}
	run(t, conn, "ROLLBACK PREPARED 'left over'") // nobody was disconnected
	if err := errors.Join(kept.CheckUndo(t.Context()), kept.Undo(t.Context()), kept.CheckUndo(t.Context()), kept.Drop(t.Context())); err != nil {
		t.Error(err)
	}
}

// TestDiscardEndsWhatTheServerGoesOnWith has a statement of a process that was killed: the
// server would go on with it and make a database after everything was removed.
func TestDiscardEndsWhatTheServerGoesOnWith(t *testing.T) {
	pg := testenv.NewPostgres(t, 17)
	name := databaseOf(t, pg, "CREATE TABLE a (n int)")
	b, _ := backUp(t, pg, name)
	to, _ := target(t, b, project.Database, server(pg.URL(name), pg.Bin))
	started := make(chan error, 2)
	for _, app := range []string{"holdfast", "another"} {
		conn, err := pgx.Connect(t.Context(), pg.URL("postgres")+"?application_name="+app)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		go func() {
			_, err := conn.Exec(t.Context(), `SELECT pg_sleep(3600) AS "holdfast_new_abcdefghij_check"`)
			if app == "holdfast" {
				started <- err
			}
		}()
	}
	testenv.Eventually(t, time.Minute, func() error {
		if n := ask(t, pg, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"); n != "2" {
			return errors.New(n + " statements")
		}
		return nil
	})
	if err := (&project.DatabasePart{}).Restoration(to).Discard(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-started; err == nil {
		t.Error("the statement has ended by itself")
	}
	if n := ask(t, pg, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"); n != "1" {
		t.Errorf("%s statements are left, want that of another program", n)
	}
}

// TestReplicationSlots names the slots of the database that is replaced.
func TestReplicationSlots(t *testing.T) {
	pg := testenv.NewPostgres(t, 15)
	name := databaseOf(t, pg, "CREATE TABLE a (n int)")
	b, _ := backUp(t, pg, name)
	if err := pg.Exec(t.Context(), name, "SELECT pg_create_logical_replication_slot('feed', 'pgoutput')"); err != nil {
		t.Fatal(err)
	}
	to, ws := target(t, b, project.Database, server(pg.URL(name), pg.Bin))
	part := &project.DatabasePart{}
	r := part.Restoration(to)
	checks, err := r.Check(t.Context())
	const want = "The replication slots feed stay with the database that is replaced"
	if err != nil || len(problems(checks)) > 0 || !strings.Contains(notes(checks), want) {
		t.Errorf("%v, notes %s, %v", problems(checks), notes(checks), err)
	}
	if err := r.Build(t.Context(), reader(b, to.Source)); err != nil {
		t.Fatal(err)
	}
	if err := r.Swap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if said := sentencesOf(*ws); !strings.Contains(said, want) {
		t.Errorf("warnings: %s", said)
	}
	if err := part.Kept(to).Drop(t.Context()); err != nil {
		t.Errorf("drop: %v", err)
	}
}

// TestSubscriptions pauses those of the database that is replaced, lets them go on after
// an undo, and drops them with it. Those of what was built go with it too.
func TestSubscriptions(t *testing.T) {
	for _, major := range []int{15, 17} {
		pg := testenv.NewPostgres(t, major)
		from := databaseOf(t, pg, "CREATE TABLE public.fed (n int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE public.fed")
		ask(t, pg, from, "SELECT pg_create_logical_replication_slot('fed_slot', 'pgoutput')")
		name := databaseOf(t, pg, "CREATE TABLE public.fed (n int PRIMARY KEY)")
		ask(t, pg, name, fmt.Sprintf("CREATE SUBSCRIPTION fed CONNECTION '%s' PUBLICATION p WITH (create_slot = false, slot_name = 'fed_slot', copy_data = false)", pg.URL(from)))
		feeds := func(when string, n int, database string) {
			t.Helper()
			if err := pg.Exec(t.Context(), from, fmt.Sprintf("INSERT INTO public.fed VALUES (%d)", n)); err != nil {
				t.Fatal(err)
			}
			for begin := time.Now(); ask(t, pg, database, fmt.Sprintf("SELECT count(*) FROM public.fed WHERE n = %d", n)) != "1"; {
				if time.Since(begin) > 30*time.Second {
					t.Fatalf("%d, %s: row %d does not come", major, when, n)
				}
			}
		}
		feeds("before", 1, name)
		b, ws := backUp(t, pg, name)
		if len(ws) != 1 || ws[0].Code != "subscription_disabled" {
			t.Errorf("warnings of the backup: %v", ws)
		}
		to, got := target(t, b, project.Database, server(pg.URL(name), pg.Bin))
		part := &project.DatabasePart{}
		r := part.Restoration(to)
		checks, err := r.Check(t.Context())
		if err != nil || len(problems(checks)) > 0 || !strings.Contains(notes(checks), "The subscriptions fed stop") {
			t.Errorf("%v, notes %s, %v", problems(checks), notes(checks), err)
		}
		if err := r.Build(t.Context(), reader(b, to.Source)); err != nil {
			t.Fatal(err)
		}
		if err := r.Swap(t.Context()); err != nil {
			t.Fatal(err)
		}
		if said := sentencesOf(*got); !strings.Contains(said, "The subscription fed is disabled in the restored database") {
			t.Errorf("warnings: %s", said)
		}
		enabled := "SELECT d.datname, s.subenabled FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid ORDER BY 1"
		if got := ask(t, pg, "postgres", enabled); strings.Contains(got, "|t") || strings.Count(got, "|f") != 2 {
			t.Errorf("after the restore: %s", got)
		}
		if err := part.Kept(to).Undo(t.Context()); err != nil {
			t.Fatal(err)
		}
		feeds("after the undo", 2, name)
		if err := part.Kept(to).Drop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := judged(t, b, pg, pg.URL(name), nil); err != nil { // and what was replaced can be dropped too
			t.Fatal(err)
		}
		for _, d := range databases(t, pg) {
			if strings.Contains(d, "_before_") {
				id := d[strings.LastIndexByte(d, '_')+1:]
				to.ID = id
				if err := part.Kept(to).Drop(t.Context()); err != nil {
					t.Error(err)
				}
			}
		}
		if got := ask(t, pg, "postgres", enabled); strings.Count(got, "|") != 1 {
			t.Errorf("after the drop: %s", got)
		}
		if got := ask(t, pg, "postgres", "SELECT slot_name FROM pg_replication_slots"); got != "fed_slot" {
			t.Errorf("slots: %s", got)
		}
		// A restore that is refused leaves nothing, though it has a subscription.
		bad := databaseOf(t, pg, "CREATE TABLE public.dup (v int); INSERT INTO public.dup VALUES (1), (1); CREATE INDEX dup_v ON public.dup (v); UPDATE pg_index SET indisunique = true WHERE indexrelid = 'public.dup_v'::regclass")
		ask(t, pg, bad, "CREATE SUBSCRIPTION asleep CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false)")
		b, _ = backUp(t, pg, bad)
		to, _ = target(t, b, project.Database, server(pg.URL(bad), pg.Bin))
		if err := buildOnly(t, b, to); err == nil {
			t.Error("duplicates under a unique index came back")
		}
		if slices.ContainsFunc(databases(t, pg), func(n string) bool { return strings.HasPrefix(n, "holdfast_new_") }) {
			t.Errorf("databases %v", databases(t, pg))
		}
	}
}

// TestEachDifferenceHasItsReason restores what breaks its own constraints.
func TestEachDifferenceHasItsReason(t *testing.T) {
	pg := testenv.NewPostgres(t, 17)
	name := databaseOf(t, pg, `CREATE TABLE public.p (id int PRIMARY KEY); CREATE TABLE public.c (pid int CONSTRAINT c_pid REFERENCES public.p); CREATE TABLE public.tag (name text); INSERT INTO public.tag VALUES ('9/11'), ('9/11'); CREATE INDEX tag_name ON public.tag (name);
UPDATE pg_index SET indisunique = true WHERE indexrelid = 'public.tag_name'::regclass; SET session_replication_role = replica; INSERT INTO public.c VALUES (7)`)
	b, _ := backUp(t, pg, name)
	for _, force := range []bool{false, true} {
		to, ws := target(t, b, project.Database, server(pg.URL(name), pg.Bin))
		to.Force = force
		err := buildOnly(t, b, to)
		said := sentencesOf(*ws)
		if err != nil {
			said = err.Error()
		}
		if (err == nil) != force {
			t.Errorf("force %v: %v", force, err)
		}
		for _, want := range []string{
			`The constraint c_pid of public.c is missing. The server said: insert or update on table "c" violates foreign key constraint "c_pid". Key (pid)=(7) is not present in table "p".`,
			`The index public.tag_name is missing. The server said: could not create unique index "tag_name". Key (name)=(9/11) is duplicated.`,
		} {
			if strings.Count(said, want) != 1 {
				t.Errorf("force %v: %q is not once in %s", force, want, said)
			}
		}
	}
}

// TestForeignTables has materialized views of tables of a server that is away, or never
// answers.
func TestForeignTables(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	port := silent.Addr().(*net.TCPAddr).Port
	for _, major := range []int{15, 17} {
		pg := testenv.NewPostgres(t, major)
		there := databaseOf(t, pg, "CREATE TABLE public.far (n int); INSERT INTO public.far VALUES (1), (2)")
		for _, at := range []int{pg.Port, 1, port} {
			name := databaseOf(t, pg, fmt.Sprintf(`CREATE EXTENSION postgres_fdw; CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '%d', dbname '%s'); CREATE USER MAPPING FOR supabase_admin SERVER elsewhere OPTIONS (user '%s', password '%s');
CREATE FOREIGN TABLE public.far (n int) SERVER elsewhere; CREATE VIEW public.through AS SELECT n FROM public.far; CREATE MATERIALIZED VIEW public.near AS SELECT sum(n) FROM public.through; CREATE UNIQUE INDEX ON public.near (sum); CREATE TABLE public.own (n int);
CREATE TABLE public.parts (n int) PARTITION BY RANGE (n); CREATE FOREIGN TABLE public.part PARTITION OF public.parts FOR VALUES FROM (0) TO (9) SERVER elsewhere OPTIONS (table_name 'far'); ALTER SERVER elsewhere OPTIONS (SET port '%d')`, pg.Port, there, testenv.Superuser, testenv.Password, at))
			before := describe(t, pg, name)
			b, _ := backUp(t, pg, name)
			to, ws := target(t, b, project.Database, server(pg.URL(name), pg.Bin))
			to.ID = fmt.Sprintf("far%d", restoreIDs.Add(1))
			r := (&project.DatabasePart{ForeignTimeout: 2 * time.Second}).Restoration(to)
			begin := time.Now()
			if err := r.Build(t.Context(), reader(b, to.Source)); err != nil {
				t.Fatalf("%d, %d: %v", major, at, err)
			}
			if took := time.Since(begin); took > 40*time.Second {
				t.Errorf("%d, %d: it took %s", major, at, took)
			}
			if err := r.Swap(t.Context()); err != nil {
				t.Fatal(err)
			}
			said := sentencesOf(*ws)
			if at == pg.Port {
				if said != "" {
					t.Errorf("%d: %s", major, said)
				}
				sameState(t, before, describe(t, pg, name))
				continue
			}
			if !strings.HasPrefix(said, "The materialized view public.near, which reads foreign tables, could not be filled: ") || strings.Contains(said, "\n") {
				t.Errorf("%d, %d: %s", major, at, said)
			}
			sameState(t, before, describe(t, pg, name), "rows: - public.near", "relations: ", "schema: ")
		}
	}
}
