package project_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

// qstand has a table that no dump holds and which is no configuration.
var qstand = map[string]string{
	"qstand--1.0.sql": "CREATE TABLE qstand.meta (name text PRIMARY KEY, made timestamptz);",
	"qstand.control":  "default_version='1.0'\nrelocatable=false\nschema=qstand\n",
}

func installFiles(t *testing.T, pg *testenv.Postgres, files map[string]string) {
	t.Helper()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(pg.ExtensionDir(), name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMembersOfExtensions has tables that belong to extensions and that pg_dump leaves out.
func TestMembersOfExtensions(t *testing.T) {
	jobs := `CREATE EXTENSION citext; CREATE TABLE public.q_jobs (msg_id bigint PRIMARY_KEY, body jsonb); INSERT INTO public.q_jobs VALUES (1,'{"a":1}'),(2,'{"a":2}'); ALTER EXTENSION citext ADD TABLE public.q_jobs;`
	trips := []trip{
		{name: "added, with a primary key", sql: strings.ReplaceAll(jobs, "PRIMARY_KEY", "PRIMARY KEY"), query: "SELECT sum(msg_id) FROM public.q_jobs", want: "3"},
		{name: "added, without one", sql: strings.ReplaceAll(jobs, "PRIMARY_KEY", ""), query: "SELECT sum(msg_id) FROM public.q_jobs", want: "3"},
		{
			name: "added, with all that a table has, and needed by others",
			sql: `CREATE EXTENSION citext; CREATE TABLE public.q (id serial PRIMARY KEY, free int, v text NOT NULL DEFAULT 'x' CHECK (v BETWEEN 'a' AND 'z' AND v <> 'q')); CREATE SEQUENCE public.named OWNED BY public.q.free; SELECT nextval('public.named');
CREATE TABLE public.i (id bigint GENERATED ALWAYS AS IDENTITY (START 100) PRIMARY KEY, v text); INSERT INTO public.i (v) VALUES ('a'), ('b'); INSERT INTO public.q (v) VALUES ('b'), ('c'); ALTER TABLE public.q OWNER TO owner_of_q; GRANT SELECT ON public.q TO reader_of_q; GRANT INSERT (v) ON public.i TO reader_of_q;
ALTER TABLE public.q ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON public.q USING (v BETWEEN 'a' AND 'm' AND id > 0); CREATE INDEX ON public.q (v) WHERE v IN ('a', 'b'); COMMENT ON TABLE public.q IS 'kept';
CREATE POLICY fewer ON public.q AS RESTRICTIVE FOR UPDATE TO reader_of_q, owner_of_q USING (true) WITH CHECK (v > 'a'); ALTER TABLE public.i FORCE ROW LEVEL SECURITY; CREATE UNIQUE INDEX ON public.i (lower(v));
CREATE FUNCTION public.noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; CREATE TRIGGER noted BEFORE INSERT ON public.q FOR EACH ROW EXECUTE FUNCTION public.noted(); CREATE TRIGGER off BEFORE INSERT ON public.q FOR EACH ROW EXECUTE FUNCTION public.noted(); ALTER TABLE public.q DISABLE TRIGGER off;
ALTER EXTENSION citext ADD TABLE public.q; ALTER EXTENSION citext ADD SEQUENCE public.q_id_seq; ALTER EXTENSION citext ADD TABLE public.i;
CREATE VIEW public.seen AS SELECT v FROM public.q; CREATE TABLE public.refers (id int REFERENCES public.q, whole public.q); INSERT INTO public.refers VALUES (1, ROW(9, 1, 'b')); CREATE TABLE public.below (more int) INHERITS (public.q); INSERT INTO public.below (v) VALUES ('d');
CREATE FUNCTION public.all_of() RETURNS SETOF public.q LANGUAGE sql AS 'SELECT * FROM public.q'; CREATE MATERIALIZED VIEW public.kept AS SELECT v FROM public.q; CREATE PUBLICATION of_q FOR TABLE public.q`,
			query: "SELECT last_value, (SELECT count(*) FROM public.seen) FROM public.q_id_seq; SELECT count(*) FROM public.kept; SELECT count(*) FROM public.refers", want: "3|3\n3\n1",
			warnings: "The publication of_q is not as at the backup: tables.", differs: []string{"publications: - of_q", "schema: + GRANT SELECT ON TABLE public.q", "schema: + GRANT INSERT(v) ON TABLE public.i"}, // which the extension's is no more
		},
		{name: "made by the script, no configuration", sql: "CREATE SCHEMA qstand; CREATE EXTENSION qstand; INSERT INTO qstand.meta VALUES ('a', now()), ('b', now()); ALTER TABLE qstand.meta ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON qstand.meta TO reader_of_q USING (true); CREATE INDEX ON qstand.meta (made)", query: "SELECT count(*) FROM qstand.meta", want: "2"},
		{name: "queues", sql: "CREATE SCHEMA pgmq; CREATE EXTENSION pgmq; SELECT pgmq.create('x'); SELECT pgmq.send('x', jsonb_build_object('n', n)) FROM generate_series(1, 5) n; SELECT pgmq.archive('x', 2)", query: "SELECT count(*) FROM pgmq.q_x; SELECT count(*) FROM pgmq.a_x; SELECT last_value FROM pgmq.q_x_msg_id_seq", want: "4\n1\n5"},
		{
			name: "rows outside of the condition", sql: "CREATE SCHEMA extensions; CREATE EXTENSION postgis SCHEMA extensions; UPDATE extensions.spatial_ref_sys SET auth_name = 'mine' WHERE srid = 4326; DELETE FROM extensions.spatial_ref_sys WHERE srid = 3857; INSERT INTO extensions.spatial_ref_sys (srid, auth_name) VALUES (990000, 'added')",
			query: "SELECT auth_name FROM extensions.spatial_ref_sys WHERE srid IN (3857, 4326, 990000) ORDER BY 1", want: "added\nmine",
		},
	}
	for _, major := range []int{15, 17} {
		t.Run(map[int]string{15: "15", 17: "17"}[major], func(t *testing.T) {
			t.Parallel()
			pg := testenv.NewPostgres(t, major)
			installFiles(t, pg, qstand)
			mustExec(t, pg, "CREATE ROLE owner_of_q; CREATE ROLE reader_of_q")
			for _, c := range trips {
				t.Run(c.name, func(t *testing.T) { c.run(t, pg) })
			}
			t.Run("without the files of extensions", func(t *testing.T) { missingExtensions(t, pg, trips[4].sql+"; "+trips[5].sql) })
		})
	}
}

// missingExtensions restores a database on a server that has lost its extensions: each is
// named once, and so are the tables whose rows are lost.
func missingExtensions(t *testing.T, pg *testenv.Postgres, sql string) {
	name := databaseOf(t, pg, sql+"; CREATE TABLE public.own (n int); INSERT INTO public.own VALUES (1); GRANT EXECUTE ON FUNCTION pgmq.create(text) TO reader_of_q")
	b, _ := backUp(t, pg, name)
	for _, pattern := range []string{"pgmq*", "postgis.control", "postgis-3.control"} {
		files, err := filepath.Glob(filepath.Join(pg.ExtensionDir(), pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		for _, f := range files {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := judged(t, b, pg, pg.URL(name), nil); err == nil || !strings.Contains(err.Error(), "pgmq") {
		t.Errorf("without force: %v", err)
	}
	said, err := judged(t, b, pg, pg.URL(name), func(to *project.Target) { to.Force = true })
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(said, "\n")
	for _, want := range []string{
		"The extension pgmq is missing.", "The extension postgis is missing.",
		"The 4 rows of the table pgmq.q_x, which belongs to the extension pgmq, could not be restored", "The 1 rows of the table pgmq.a_x", "The 1 rows of the table pgmq.meta", "extensions.spatial_ref_sys",
	} {
		n := 0
		for _, line := range lines {
			if strings.Contains(line, want) {
				n++
			}
		}
		if n < 1 || strings.HasPrefix(want, "The extension") && n != 1 {
			t.Errorf("%q is said %d times in %s", want, n, said)
		}
	}
	if len(lines) > 7 {
		t.Errorf("%d warnings: %s", len(lines), said)
	}
	if got := ask(t, pg, name, "SELECT count(*) FROM public.own"); got != "1" {
		t.Errorf("%s rows", got)
	}
}
