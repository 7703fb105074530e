package project_test

import (
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/testenv"
)

// TestDefinitionsWithOtherTexts restores definitions whose texts PostgreSQL changes when it
// reads them again.
func TestDefinitionsWithOtherTexts(t *testing.T) {
	runTrips(t, []trip{
		{
			name: "BETWEEN beside AND, IN on varchar, in all that has expressions",
			sql: `CREATE TABLE public.x (a int, b int, v varchar(9) CHECK (v IN ('a','b')), body text, CHECK (a BETWEEN 1 AND 5 AND b > 0), CHECK (a NOT BETWEEN 7 AND 8 OR b > 0), CHECK (b BETWEEN SYMMETRIC 9 AND 0 AND a > 0),
 CONSTRAINT none CHECK (v NOT IN ('x', NULL) OR v IS NULL), g bool GENERATED ALWAYS AS (a BETWEEN 1 AND 3 AND b > 1) STORED, d bool DEFAULT ('a'::varchar(3) IN ('a', 'b')));
CREATE TABLE public.child (c int) INHERITS (public.x); CREATE TABLE public.parts (a int, v varchar, CHECK (a BETWEEN 0 AND 9 AND v IN ('p', 'q'))) PARTITION BY RANGE (a); CREATE TABLE public.parts_1 PARTITION OF public.parts FOR VALUES FROM (0) TO (5);
INSERT INTO public.x (a, b, v) VALUES (1, 1, 'a'), (2, 2, 'b'); INSERT INTO public.child (a, b, v) VALUES (3, 3, 'a'); INSERT INTO public.parts VALUES (1, 'p');
CREATE VIEW public.few AS SELECT body, count(*) FILTER (WHERE a BETWEEN 1 AND 5 AND b > 0) OVER () FROM public.x WHERE (a BETWEEN 1 AND 5 AND v IN ('a','b')) OR CASE WHEN v COLLATE "C" IN ('a', 'b') THEN a BETWEEN 1 AND 2 AND b = 1 ELSE true END;
CREATE MATERIALIZED VIEW public.few_kept AS SELECT a FROM public.x WHERE a BETWEEN 1 AND 2 AND v IN ('a','b');
CREATE UNIQUE INDEX few_idx ON public.x (a) WHERE b BETWEEN 1 AND 5 AND v IN ('a','b'); CREATE INDEX expr_idx ON public.x ((a BETWEEN 1 AND 5 AND b > 0), lower(v)) INCLUDE (b); CREATE INDEX ON public.parts ((a BETWEEN 1 AND 5 AND v IN ('p')));
ALTER TABLE public.x ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON public.x USING (a BETWEEN 1 AND 5 AND v IN ('a','b')) WITH CHECK (v NOT IN ('x','y') AND a BETWEEN 1 AND 5 AND b > 0);
CREATE FUNCTION public.noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER seen BEFORE UPDATE ON public.x FOR EACH ROW WHEN (NEW.a BETWEEN 1 AND 5 AND NEW.v IN ('a','b')) EXECUTE FUNCTION public.noted(); ALTER TABLE public.x DISABLE TRIGGER seen;
CREATE RULE kept AS ON DELETE TO public.x WHERE OLD.a BETWEEN 1 AND 5 AND OLD.v IN ('a','b') DO INSTEAD NOTHING;
CREATE DOMAIN public.word AS varchar(9) CHECK (VALUE IN ('a','b')); CREATE TABLE public.worded (w public.word DEFAULT 'a'); INSERT INTO public.worded DEFAULT VALUES;
CREATE FUNCTION public.known(a int, v varchar) RETURNS bool LANGUAGE sql BEGIN ATOMIC SELECT a BETWEEN 1 AND 5 AND v IN ('a','b'); END;
CREATE PUBLICATION p FOR TABLE public.x WHERE (a BETWEEN 1 AND 5 AND b > 0); CREATE STATISTICS public.s ON (a BETWEEN 1 AND 5 AND b > 0), (v IN ('a','b')) FROM public.x;
CREATE EXTENSION btree_gist; CREATE TABLE public.apart (a int, b int, EXCLUDE USING gist (a WITH =) WHERE (a BETWEEN 1 AND 5 AND b > 0)); INSERT INTO public.apart VALUES (1, 1);
ALTER TABLE public.apart ADD CONSTRAINT later CHECK (a BETWEEN 1 AND 5 AND b > 0) NOT VALID;`,
			query: "SELECT count(*) FROM public.x; SELECT count(*) FROM public.few_kept", want: "3\n2",
			differs: []string{"schema: ", "publications: ", "statistics: "}, // the texts
		},
		{
			name: "texts that depend on settings of whoever restores",
			sql:  `CREATE TABLE public.t (at timestamptz, d date, i interval DEFAULT '1 year 2 days 03:04:05', b bytea DEFAULT '\x00ff', f float8 DEFAULT 0.1, CHECK (at > '2019-01-01 00:00+00'), CHECK (d > '2019-02-01')); INSERT INTO public.t VALUES (now(), now());`,
			after: `ALTER ROLE supabase_admin SET timezone = 'America/New_York'; ALTER ROLE supabase_admin SET DateStyle = 'German'; ALTER ROLE supabase_admin SET IntervalStyle = 'iso_8601'; ALTER ROLE supabase_admin SET bytea_output = 'escape';
ALTER ROLE supabase_admin SET extra_float_digits = 0; ALTER ROLE supabase_admin SET quote_all_identifiers = on; ALTER ROLE supabase_admin SET search_path = 'public'`,
			differs: []string{"settings: ", "schema: "},
		},
		{
			name:  "an index that is not valid",
			sql:   `CREATE TABLE dups (v int); INSERT INTO dups VALUES (1), (1); CREATE INDEX dups_v_key ON dups (v); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'dups_v_key'::regclass;`,
			query: "SELECT count(*) FROM dups", want: "2", differs: []string{"indexes: - public.dups_v_key", "owners: - index public.dups_v_key", "relations: - index public.dups_v_key", "acls: - index public.dups_v_key"},
		},
		{
			name: "an index that is not valid on a partitioned table",
			sql:  `CREATE TABLE parts (v int) PARTITION BY RANGE (v); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (9); CREATE INDEX parts_v ON ONLY parts (v); INSERT INTO parts VALUES (1)`,
		},
		{
			name: "names that need quotes, are long, or are overloaded",
			sql: `CREATE SCHEMA "Odd. schema"; CREATE TABLE "Odd. schema"."Tab""le, x" ("Col umn" varchar CHECK ("Col umn" IN ('a', 'b')), n int, CONSTRAINT "con straint" CHECK (n BETWEEN 1 AND 2 AND n > 0)); INSERT INTO "Odd. schema"."Tab""le, x" VALUES ('a', 1);
CREATE TABLE public.äöüäöüäöüäöüäöüäöüäöüäöüäöüäöü_x (abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghij_x serial PRIMARY KEY, v varchar CHECK (v IN ('a', 'b')));
CREATE INDEX "in dex" ON "Odd. schema"."Tab""le, x" (n) WHERE "Col umn" IN ('a', 'b'); CREATE FUNCTION public.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION public.f(int, text DEFAULT 'x') RETURNS int LANGUAGE sql AS 'SELECT 2';
CREATE FUNCTION public.f(VARIADIC int[]) RETURNS int LANGUAGE sql AS 'SELECT 3'; CREATE FUNCTION "Odd. schema"."F(int)"(a int, OUT b int, OUT c text) LANGUAGE sql AS $$ SELECT 1, 'x' $$; CREATE PROCEDURE public.p(IN a int, OUT b int) LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE public.p(IN a text, INOUT b int) LANGUAGE sql AS 'SELECT 1'; CREATE AGGREGATE public.total (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
GRANT EXECUTE ON FUNCTION public.f(int) TO pg_monitor; REVOKE ALL ON PROCEDURE public.p(int) FROM PUBLIC; COMMENT ON FUNCTION public.f(int, text) IS 'one of three';`,
			query: `SELECT count(*) FROM "Odd. schema"."Tab""le, x"`, want: "1", differs: []string{"schema: "},
		},
	})
}

// TestWhatDiffersIsRefused forges backups of definitions, rights and owners that the dump
// does not bring: a text that means something else is a warning that names the object,
// a right or an owner is not.
func TestWhatDiffersIsRefused(t *testing.T) {
	pg := testenv.NewPostgres(t, 17)
	mustExec(t, pg, "CREATE ROLE reader")
	name := databaseOf(t, pg, `CREATE TABLE public.t (a int, CONSTRAINT bound CHECK (a > 1)); INSERT INTO public.t VALUES (2); GRANT SELECT ON public.t TO reader; CREATE VIEW public.v AS SELECT a FROM public.t`)
	b, _ := backUp(t, pg, name)
	for _, c := range []struct {
		name, from, to, says string
		refused              bool
	}{
		{"a constraint", "CHECK ((a \\u003e 1))", "CHECK ((a \\u003e 100))", "The constraint bound of public.t is not as at the backup: definition.", false},
		{"a right", "reader:SELECT", "gone:SELECT", "The relation public.t is not as at the backup: privileges are missing (gone: SELECT).", true},
		{"an owner", `"owner": "supabase_admin"`, `"owner": "reader"`, "owner", true},
		{"a missing object", `"name": "public.v"`, `"name": "public.w"`, "The relation public.w is missing.", true},
	} {
		for _, force := range []bool{false, true} {
			to, ws := target(t, b, "database", server(pg.URL(name), pg.Bin))
			text := string(to.Prints)
			if strings.Count(text, c.from) == 0 {
				c.from, c.to = strings.ReplaceAll(c.from, "\\u003e", ">"), strings.ReplaceAll(c.to, "\\u003e", ">")
			}
			if !strings.Contains(text, c.from) {
				t.Fatalf("%s: %q is not in %s", c.name, c.from, text)
			}
			to.Prints, to.Force = []byte(strings.ReplaceAll(text, c.from, c.to)), force
			err := buildOnly(t, b, to)
			if (err != nil) != (c.refused && !force) {
				t.Errorf("%s, force %v: %v", c.name, force, err)
			}
			said := sentencesOf(*ws)
			if err != nil {
				said = err.Error()
			}
			if !strings.Contains(said, c.says) {
				t.Errorf("%s, force %v: %s", c.name, force, said)
			}
		}
	}
}
