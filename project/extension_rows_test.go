package project_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

// queues is an extension as Supabase's queues are: a table of its own, one with
// configuration of which it brings a part, and one without a log.
const queues = `
CREATE TABLE meta (name text PRIMARY KEY, made timestamptz DEFAULT now());
CREATE TABLE zones (id int, name text, twice int GENERATED ALWAYS AS (id * 2) STORED); INSERT INTO zones VALUES (1, 'its own'), (2, 'its own');
SELECT pg_extension_config_dump('zones', 'WHERE id > 2 AND NOT public.hidden(name)');
CREATE FUNCTION hidden(n text) RETURNS bool LANGUAGE sql IMMUTABLE AS $$ SELECT n = 'hidden' $$;
CREATE UNLOGGED TABLE waiting (id int);`

// members are tables that users made and gave to the extension.
const members = `
CREATE TABLE zones_copy (id int); -- of nobody
CREATE SEQUENCE named START 5;
CREATE TABLE q (msg_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (INCREMENT 2), "odd ""name" text COLLATE "C" DEFAULT 'a;b', n serial, v int DEFAULT nextval('named'),
 twice int GENERATED ALWAYS AS (n * 2) STORED, vt timestamptz NOT NULL DEFAULT '2026-01-01 00:00+00', CONSTRAINT small CHECK (n < 1000), FOREIGN KEY (v) REFERENCES other DEFERRABLE) WITH (fillfactor = 70);
CREATE INDEX by_vt ON q (vt) WHERE n > 0; COMMENT ON TABLE q IS 'it''s a queue'; COMMENT ON COLUMN q.vt IS 'visible';
ALTER TABLE q ENABLE ROW LEVEL SECURITY; ALTER SEQUENCE named OWNED BY q.v;
INSERT INTO q ("odd ""name") VALUES (E'tab\tand\nline'), (NULL), ('ü');
CREATE TABLE empty_q (LIKE q INCLUDING ALL); CREATE TABLE cols_less ();
CREATE TABLE parts (at date NOT NULL, n int, PRIMARY KEY (at, n)) PARTITION BY RANGE (at); CREATE TABLE a_part PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01'); CREATE INDEX ON parts (n);
INSERT INTO parts VALUES ('2026-05-05', 1);
INSERT INTO waiting VALUES (1); INSERT INTO meta (name) VALUES ('x'), ('y'); INSERT INTO zones VALUES (3, 'added'), (4, 'hidden');
ALTER EXTENSION queues ADD TABLE a_part; ALTER EXTENSION queues ADD TABLE q; ALTER EXTENSION queues ADD TABLE empty_q; ALTER EXTENSION queues ADD TABLE cols_less; ALTER EXTENSION queues ADD TABLE parts;
ALTER EXTENSION queues ADD SEQUENCE named;`

func TestRowsThatPgDumpLeavesOut(t *testing.T) {
	for _, major := range []int{15, 17} {
		pg := testenv.NewPostgres(t, major)
		installExtension(t, pg, "queues", queues)
		mustExec(t, pg, "CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other SELECT generate_series(1, 10); CREATE EXTENSION queues;"+strings.ReplaceAll(members, "-- of nobody", ""))
		b, ws, err := dump(t, project.Project{Parts: database(time.Minute), Server: server(pg.URL("postgres"), pg.Bin)})
		if err != nil || len(ws) > 0 {
			t.Fatalf("%d: %v, warnings %v", major, err, ws)
		}
		dir := unpack(t, b)
		f := readPrints(t, dir).Databases["postgres"]
		var got []string
		for _, x := range f.ExtensionTables {
			got = append(got, fmt.Sprintf("%s.%s %s of %s %s: %d rows, outside %v of %q, columns %s", x.Schema, x.Name, x.File, x.Extension, x.Version, x.Rows, x.Outside, x.Condition, strings.Join(x.Columns, ",")))
		}
		same(t, fmt.Sprint(major), got, []string{
			`public.meta postgres.extrows.0001 of queues 1: 2 rows, outside false of "", columns name,made`,
			`public.zones postgres.extrows.0002 of queues 1: 3 rows, outside true of "WHERE id > 2 AND NOT public.hidden(name)", columns id,name`,
			`public.q postgres.extrows.0003 of queues 1: 3 rows, outside false of "", columns msg_id,odd "name,n,v,vt`,
			`public.empty_q  of queues 1: 0 rows, outside false of "", columns msg_id,odd "name,n,v,vt`,
			`public.cols_less  of queues 1: 0 rows, outside false of "", columns `,
			`public.parts  of queues 1: 0 rows, outside false of "", columns at,n`,
			`public.a_part postgres.extrows.0004 of queues 1: 1 rows, outside false of "", columns at,n`,
		})
		if f.Tables["public.zones"] != 1 {
			t.Errorf("%d: rows in the dump %v", major, f.Tables)
		}
		byHand(t, major, pg, dir, f.ExtensionTables)
	}
}

// byHand makes the tables with the statements of the fingerprint in another database and
// fills them as archive/FORMAT.md says.
func byHand(t *testing.T, major int, pg *testenv.Postgres, dir string, tables []extensionTable) {
	t.Helper()
	const describe = `SELECT c.oid::regclass::text, c.relkind::text, c.reloptions::text, c.relrowsecurity::text, obj_description(c.oid, 'pg_class'), a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull::text, a.attidentity::text, a.attgenerated::text,
		pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum), (SELECT string_agg(conname || pg_get_constraintdef(o.oid), ';' ORDER BY conname) FROM pg_constraint o WHERE o.conrelid = c.oid AND o.contype <> 'n'),
		(SELECT string_agg(pg_get_indexdef(indexrelid), ';' ORDER BY indexrelid::regclass::text) FROM pg_index WHERE indrelid = c.oid), pg_get_expr(c.relpartbound, c.oid),
		(SELECT concat_ws(' ', seqtypid::regtype, seqstart, seqincrement, seqmax, seqcycle) FROM pg_sequence WHERE seqrelid = pg_get_serial_sequence(c.oid::regclass::text, a.attname)::regclass)
		FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
		WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname NOT IN ('waiting', 'zones_copy') ORDER BY 1, a.attnum`
	contents := func(database string) (out []string) {
		rows := psql(t, pg, database, describe)
		for _, x := range tables {
			where := ""
			if x.Outside {
				where = " WHERE NOT (id > 2 AND name <> 'hidden')"
			}
			rows += psql(t, pg, database, "SELECT '"+x.Name+"', t.* FROM ONLY "+x.Schema+"."+x.Name+" t"+where+" ORDER BY t")
		}
		return strings.Split(rows, "\n")
	}
	mustExec(t, pg, "CREATE DATABASE other")
	conn := sessionOn(t, pg, "other")
	run(t, conn, "CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other SELECT generate_series(1, 10); SET search_path = ''")
	for _, x := range tables {
		for _, stmt := range x.Create {
			run(t, conn, stmt)
		}
		if x.File == "" {
			continue
		}
		columns := `"` + strings.Join(mapped(x.Columns, func(c string) string { return strings.ReplaceAll(c, `"`, `""`) }), `", "`) + `"`
		sh(t, dir, "cat database/"+x.File+"/* > rows")
		psqlIn(t, pg, "other", `\copy `+x.Schema+"."+x.Name+" ("+columns+") FROM '"+filepath.Join(dir, "rows")+"' WITH (FORMAT text, ENCODING 'UTF8')")
		for name, last := range x.Sequences {
			if last != nil {
				run(t, conn, fmt.Sprintf("SELECT setval('%s', %d)", name, *last))
			}
		}
	}
	same(t, fmt.Sprint(major, " by hand"), contents("postgres"), contents("other"))
	for _, name := range []string{"public.q_msg_id_seq", "public.q_n_seq", "public.named"} {
		last := "SELECT last_value FROM " + name
		if a, b := psql(t, pg, "postgres", last), psql(t, pg, "other", last); a != b {
			t.Errorf("%d: the sequence %s stands at %s, want %s", major, name, b, a)
		}
	}
}

func mapped(in []string, f func(string) string) []string {
	out := slices.Clone(in)
	for i := range out {
		out[i] = f(out[i])
	}
	return out
}

func psql(t *testing.T, pg *testenv.Postgres, database, query string) string {
	t.Helper()
	return psqlIn(t, pg, database, strings.Join(strings.Fields(query), " ")+";")
}

func psqlIn(t *testing.T, pg *testenv.Postgres, database, script string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script.sql")
	if err := os.WriteFile(file, []byte(script+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return sh(t, t.TempDir(), "'"+pg.Bin+"/psql' -X -At -v ON_ERROR_STOP=1 -f '"+file+"' '"+pg.URL(database)+"'")
}

// TestMembersRewrittenWhileTheBackupBegins is for tables that pg_dump does not lock.
func TestMembersRewrittenWhileTheBackupBegins(t *testing.T) {
	pg := testenv.NewPostgres(t, 17)
	installExtension(t, pg, "queues", "CREATE TABLE meta (n int);")
	mustExec(t, pg, "CREATE EXTENSION queues; INSERT INTO meta SELECT generate_series(1, 1000); CREATE VIEW seen AS SELECT n FROM meta")
	conn := session(t, pg)
	run(t, conn, "BEGIN; TRUNCATE meta; INSERT INTO meta SELECT generate_series(1, 1000)")
	commits := make(chan error, 1)
	go func() {
		err := waitFor(t, pg, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessShareLock')")
		if err == nil {
			_, err = conn.Exec(t.Context(), "COMMIT")
		}
		commits <- err
	}()
	b, ws, err := dump(t, project.Project{Parts: database(time.Minute), Server: server(pg.URL("postgres"), pg.Bin)})
	if cerr := <-commits; err != nil || cerr != nil || len(ws) > 0 {
		t.Fatalf("%v, %v, warnings %v", err, cerr, ws)
	}
	dir := unpack(t, b)
	if x := readPrints(t, dir).Databases["postgres"].ExtensionTables; len(x) != 1 || x[0].Rows != 1000 || strings.Count(sh(t, dir, "cat database/"+x[0].File+"/*"), "\n") != 1000 {
		t.Errorf("%+v", x)
	}
}

// TestRealExtensions has pg_cron and PostGIS, with rows of users in tables of theirs.
func TestRealExtensions(t *testing.T) {
	for _, major := range []int{15, 17} {
		pg := testenv.NewCluster(t, testenv.PostgresConfig{Major: major, Image: true})
		mustExec(t, pg, `CREATE EXTENSION pg_cron; CREATE EXTENSION postgis; CREATE EXTENSION citext; SELECT cron.schedule('nightly', '0 3 30 2 *', 'SELECT 1');
			INSERT INTO cron.job_run_details (jobid, runid, database, command, status) VALUES (1, 100, 'postgres', 'SELECT 1', 'succeeded');
			UPDATE spatial_ref_sys SET auth_name = 'mine' WHERE srid = 4326; INSERT INTO spatial_ref_sys (srid, auth_name) VALUES (990000, 'added')`)
		b, ws, err := dump(t, project.Project{Parts: database(time.Minute), Server: server(pg.URL("postgres"), pg.Bin)})
		if err != nil || len(ws) > 0 {
			t.Fatalf("%d: %v, warnings %v", major, err, ws)
		}
		dir := unpack(t, b)
		f := readPrints(t, dir).Databases["postgres"]
		files := map[string]extensionTable{}
		for _, x := range f.ExtensionTables {
			files[x.Schema+"."+x.Name] = x
		}
		srs := files["public.spatial_ref_sys"]
		if rows := sh(t, dir, "cat database/"+srs.File+"/*"); !srs.Outside || !strings.Contains(rows, "4326\tmine") || strings.Contains(rows, "990000\tadded") || srs.Rows < 5000 || f.Tables["public.spatial_ref_sys"] != 1 {
			t.Errorf("%d: %+v, %d rows in the dump", major, srs, f.Tables["public.spatial_ref_sys"])
		}
		if f.Tables["cron.job"] != 1 || f.Tables["cron.job_run_details"] != 1 || f.Sequences["cron.jobid_seq"] == nil {
			t.Errorf("%d: %v, %v", major, f.Tables, f.Sequences)
		}
	}
}
