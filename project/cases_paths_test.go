package project_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/testenv"
)

// TestNamesWithoutASchema has functions that rely on a search_path of the database, of a
// role, or of their own schema.
func TestNamesWithoutASchema(t *testing.T) {
	const index = `CREATE INDEX data_norm ON s1.data (s1.norm(val));`
	dict := `ALTER DATABASE $DB SET search_path = s1, public; CREATE SCHEMA s1; SET search_path = s1, public; CREATE TABLE s1.tbl_dict (val varchar(32) PRIMARY KEY); INSERT INTO tbl_dict VALUES ('a'), ('b');
CREATE FUNCTION s1.known(v varchar) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT EXISTS (SELECT 1 FROM tbl_dict d WHERE d.val = v) $$; CREATE TABLE s1.data (id int PRIMARY KEY, val varchar(32) CHECK (s1.known(val)));
INSERT INTO s1.data SELECT n, 'a' FROM generate_series(1, 5000) n; CREATE FUNCTION s1.low(v text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT lower(v) $$; CREATE FUNCTION s1.norm(v text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN low(v); END $$;`
	app := `CREATE SCHEMA app; SET search_path = app, public; CREATE FUNCTION app.a(v text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT lower(v) $$; CREATE FUNCTION app.b(v text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT a(v) $$;
CREATE TABLE app.t (v text); INSERT INTO app.t VALUES ('A');`
	var many strings.Builder
	many.WriteString("CREATE SCHEMA many; SET search_path = many;")
	for n := range 2000 {
		fmt.Fprintf(&many, "CREATE FUNCTION many.f%d(v text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(v)';", n)
	}
	runTrips(t, []trip{
		{name: "path of the database, in a check", sql: dict, query: "SELECT count(*) FROM s1.data", want: "5000"},
		{name: "path of the database, in an index", major: 15, sql: dict + index, query: "SELECT count(*) FROM s1.data", want: "5000"},
		{name: "own schema, in an index", major: 15, sql: app + "CREATE INDEX ti ON app.t (app.b(v)); CREATE MATERIALIZED VIEW app.words AS SELECT app.b(v) FROM app.t", query: "SET search_path = app; SELECT v FROM t; SELECT b FROM words", want: "SET\nA\na"},
		{name: "own schema, in a domain and a generated column", sql: app + "CREATE DOMAIN app.low AS text CHECK (app.b(VALUE) = VALUE); CREATE TABLE app.u (d app.low, g text GENERATED ALWAYS AS (app.b(d::text)) STORED); INSERT INTO app.u VALUES ('x')", query: "SELECT g FROM app.u", want: "x"},
		{name: "path of a role only", sql: "ALTER ROLE supabase_admin IN DATABASE $DB SET search_path = other, public;" + app + `CREATE SCHEMA other; CREATE FUNCTION other.up(v text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper(v)';
SET search_path = other, public; CREATE FUNCTION app.c(v text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN up(v); END $$; CREATE TABLE app.w (v text CHECK (app.c(v) = v)); INSERT INTO app.w VALUES ('X')`, query: "SELECT count(*) FROM app.w", want: "1"},
		{name: "overloads and procedures with OUT parameters", sql: app + `CREATE FUNCTION app.b(v text, n int DEFAULT 1) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN a(v); END $$; CREATE PROCEDURE app.p(IN v text, OUT r text) LANGUAGE plpgsql AS $$ BEGIN r := a(v); END $$;
CREATE PROCEDURE app.p(IN v text, IN n int, OUT r text) LANGUAGE plpgsql AS $$ BEGIN r := a(v); END $$; CREATE TABLE app.x (v text CHECK (app.b(v, 1) = v)); INSERT INTO app.x VALUES ('x')`, query: "SELECT count(*) FROM app.x", want: "1"},
		{name: "two thousand functions in one schema", sql: many.String() + "CREATE FUNCTION many.g(v text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN f1999(v); END $$; CREATE TABLE many.t (v text CHECK (many.g(v) = v)); INSERT INTO many.t VALUES ('x')", query: "SELECT count(*) FROM many.t", want: "1"},
		{
			name: "an extension whose functions name types without a schema", sql: `CREATE SCHEMA extensions; CREATE EXTENSION cube SCHEMA extensions; CREATE EXTENSION earthdistance SCHEMA extensions; SET search_path = public, extensions; CREATE TABLE public.places (lat float8, lng float8);
INSERT INTO public.places SELECT n % 90, n % 180 FROM generate_series(1, 500) n; CREATE INDEX places_earth ON public.places USING gist (ll_to_earth(lat, lng)); ALTER TABLE public.places ADD COLUMN at extensions.cube GENERATED ALWAYS AS (ll_to_earth(lat, lng)) STORED`,
			query: "SET search_path = public, extensions; SELECT count(at) FROM places", want: "SET\n500",
		},
	})
}

// TestLongNames has names of databases of 63 bytes, whose names beside them must be
// shorter.
func TestLongNames(t *testing.T) {
	pg := testenv.NewPostgres(t, 17)
	for _, name := range []string{strings.Repeat("d", 63), strings.Repeat("ä", 31) + "x", strings.Repeat("語", 21), `with "quotes" and spaces`} {
		quoted := `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		mustExec(t, pg, "CREATE DATABASE "+quoted)
		if err := pg.Exec(t.Context(), name, "CREATE TABLE a AS SELECT 1 AS n; ALTER DATABASE "+quoted+" SET timezone = 'Europe/Berlin'"); err != nil {
			t.Fatal(err)
		}
		before := describe(t, pg, name)
		b, _ := backUp(t, pg, name)
		for range 2 { // the second time something is kept already
			said, err := judged(t, b, pg, pg.URL(name), nil)
			if err != nil || said != "" {
				t.Fatalf("%s: %v, %s", name, err, said)
			}
		}
		sameState(t, before, describe(t, pg, name))
	}
}

// TestStatisticsCostNoRestore has tables that cannot be analyzed.
func TestStatisticsCostNoRestore(t *testing.T) {
	runTrips(t, []trip{{
		name: "a function that fails for ANALYZE only",
		sql: `CREATE FUNCTION public.moody(v int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN IF current_query() LIKE 'ANALYZE%' THEN RAISE EXCEPTION 'not today'; END IF; RETURN v; END $$;
CREATE TABLE public.t (v int); INSERT INTO public.t SELECT generate_series(1, 100); CREATE INDEX ON public.t (public.moody(v))`,
		query: "SELECT count(*) FROM public.t", want: "100", warnings: "The statistics of public.t could not be gathered: not today. Run ANALYZE when the cause is gone.",
	}})
}
