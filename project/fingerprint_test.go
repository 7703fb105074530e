package project_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

// nameless holds rows that can only be counted where names without a schema are found:
// the planner looks into the functions of indexes.
const nameless = `
CREATE SCHEMA app; SET search_path = app, public;
CREATE FUNCTION app.a(v text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT lower(v) $$;
CREATE FUNCTION app.b(v text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT a(v) $$;
CREATE TABLE app.t (v text); INSERT INTO app.t VALUES ('A'); CREATE INDEX ti ON app.t (app.b(v));
CREATE SCHEMA zoo; SET search_path = zoo;
CREATE FUNCTION zoo.a(v text, n int DEFAULT 1) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT upper(v) $$;
CREATE FUNCTION zoo.c(v text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT a(v, 2) $$;
CREATE TABLE zoo.t (v text); INSERT INTO zoo.t VALUES ('A'), ('B'); CREATE INDEX ti ON zoo.t (zoo.c(v))`

// broken makes a table whose rows the server cannot count any more.
const broken = `
CREATE FUNCTION public.fine() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN 1; END $$;
CREATE TABLE public.%[1]s (v int); INSERT INTO public.%[1]s SELECT generate_series(1, 7); CREATE INDEX ON public.%[1]s (v) WHERE public.fine() = 1;
CREATE OR REPLACE FUNCTION public.fine() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE EXCEPTION 'out of order'; END $$`

func TestCountingNeverFailsABackup(t *testing.T) {
	for _, major := range []int{15, 17} {
		pg := testenv.NewPostgres(t, major)
		if major < 17 { // which looks for names in pg_catalog alone when it makes an index
			mustExec(t, pg, nameless)
		}
		mustExec(t, pg, strings.ReplaceAll(broken, "%[1]s", "refusing"))
		b, ws, err := dump(t, project.Project{Parts: database(time.Minute), Server: server(pg.URL("postgres"), pg.Bin)})
		if err != nil || len(ws) > 0 {
			t.Fatalf("%d: %v, warnings %v", major, err, ws)
		}
		got := readPrints(t, unpack(t, b)).Databases["postgres"].Tables
		if got["public.refusing"] != 7 || major < 17 && (got["app.t"] != 1 || got["zoo.t"] != 2) {
			t.Errorf("%d: rows %v", major, got)
		}
	}
}

// TestRowsThatNobodyCounts counts neither on the server nor in the dump, whose names are
// in another encoding.
func TestRowsThatNobodyCounts(t *testing.T) {
	pg := testenv.NewPostgres(t, 15)
	mustExec(t, pg, "CREATE DATABASE old TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
	conn, err := pgx.Connect(t.Context(), pg.URL("old")+"?client_encoding=UTF8")
	if err != nil {
		t.Fatal(err)
	}
	run(t, conn, "CREATE TABLE good (n int); "+strings.ReplaceAll(broken, "%[1]s", `"Größe"`))
	_ = conn.Close(t.Context())
	b, ws, err := dump(t, project.Project{Parts: database(time.Minute), Server: server(pg.URL("old"), pg.Bin)})
	if err != nil || len(ws) != 1 || ws[0].Code != "rows_uncounted" || ws[0].Count != 1 {
		t.Fatalf("%v, warnings %v", err, ws)
	}
	dir := unpack(t, b)
	if got := sh(t, dir, "cat warnings.jsonl"); !strings.Contains(got, `Größe`) || !strings.Contains(got, "out of order") {
		t.Errorf("warnings: %s", got)
	}
	tables := readPrints(t, dir).Databases["old"].Tables
	if _, ok := tables[`public."Größe"`]; ok || len(tables) != 1 {
		t.Errorf("rows %v", tables)
	}
}

// TestSequencesStandAsInTheDump moves a sequence all the time: it has no snapshot.
func TestSequencesStandAsInTheDump(t *testing.T) {
	pg := testenv.NewPostgres(t, 17)
	mustExec(t, pg, "CREATE SEQUENCE moving; CREATE SEQUENCE fresh")
	stop := repeat(t, pg, "SELECT nextval('moving')")
	defer stop()
	for range 3 {
		b, _, err := dump(t, project.Project{Parts: database(time.Minute), Server: server(pg.URL("postgres"), pg.Bin)})
		if err != nil {
			t.Fatal(err)
		}
		dir := unpack(t, b)
		got := readPrints(t, dir).Databases["postgres"].Sequences
		set := sh(t, dir, "cat database/postgres.dump/* > d; '"+pg.Bin+"/pg_restore' -f - d | sed -n \"s/.*setval('public.moving', \\([0-9]*\\), true.*/\\1/p\"")
		if got["public.moving"] == nil || strings.TrimSpace(set) != itoa(*got["public.moving"]) || got["public.fresh"] != nil {
			t.Errorf("sequences %v, the dump says %s", got, set)
		}
	}
}

// TestTheFirstErrorIsSaid fails the listing of objects, whose session owns the snapshot
// that pg_dump needs.
func TestTheFirstErrorIsSaid(t *testing.T) {
	pg := testenv.NewPostgres(t, 15)
	mustExec(t, pg, `CREATE SCHEMA cron; CREATE FUNCTION cron.jobs() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no jobs today' USING DETAIL = 'They are on strike.', HINT = 'Ask again.'; END $$;
		CREATE VIEW cron.job AS SELECT 1 AS jobid, '' AS schedule, cron.jobs() = 1 AS active, '' AS command`)
	_, _, err := dump(t, project.Project{Parts: database(time.Minute), Server: server(pg.URL("postgres"), pg.Bin)})
	wantSentence(t, err, "objects of the database could not be listed", "no jobs today", "They are on strike", "Ask again")
	if strings.Contains(project.Sentence(err), "snapshot") {
		t.Error(project.Sentence(err))
	}
}
