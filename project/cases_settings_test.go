package project_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

// TestWhatIsComputedFollowsTheSettings has indexes, generated columns, materialized views
// and checks whose values depend on settings of the database.
func TestWhatIsComputedFollowsTheSettings(t *testing.T) {
	runTrips(t, []trip{
		{
			name: "text search, time zone, tenant",
			sql: `ALTER DATABASE $DB SET default_text_search_config = 'pg_catalog.german'; SET default_text_search_config = 'pg_catalog.german';
CREATE FUNCTION public.tsv(v text) RETURNS tsvector LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN to_tsvector(v); END $$;
CREATE TABLE public.docs (id int, body text, s tsvector GENERATED ALWAYS AS (public.tsv(body)) STORED);
INSERT INTO public.docs SELECT n, 'die Häuser der Kinder' FROM generate_series(1,10) n;
CREATE INDEX docs_tsv ON public.docs USING gin (public.tsv(body));
ALTER DATABASE $DB SET timezone = 'Europe/Berlin'; SET timezone = 'Europe/Berlin';
CREATE TABLE public.visits (at timestamptz); INSERT INTO public.visits VALUES ('2026-01-01 23:30+00'), ('2026-01-02 10:00+00');
CREATE MATERIALIZED VIEW public.daily AS SELECT at::date AS day, count(*) FROM public.visits GROUP BY 1;
ALTER DATABASE $DB SET "app.tenant" = 'acme'; SET "app.tenant" = 'acme'; CREATE TABLE public.o (tenant text, v int); INSERT INTO public.o VALUES ('acme', 1), ('other', 2);
CREATE MATERIALIZED VIEW public.mine AS SELECT v FROM public.o WHERE tenant = current_setting('app.tenant', true);`,
			query: `SET enable_seqscan = off; SELECT count(*) FROM public.docs WHERE public.tsv(body) @@ to_tsquery('Haus'); SELECT count(*) FROM public.docs WHERE s @@ to_tsquery('Haus');
SELECT * FROM public.daily; SELECT count(*) FROM public.mine`,
			want: "SET\n10\n10\n2026-01-02|2\n1",
		},
		{
			name: "a limit that a check and a domain read",
			sql: `ALTER DATABASE $DB SET "app.max_len" = '20'; SET "app.max_len" = '20';
CREATE TABLE public.t (v text CHECK (length(v) < current_setting('app.max_len')::int)); INSERT INTO public.t VALUES ('short');
CREATE FUNCTION public.fits(v text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN length(v) < current_setting('app.max_len')::int; END $$;
CREATE DOMAIN public.brief AS text CHECK (public.fits(VALUE)); CREATE TABLE public.d (v public.brief); INSERT INTO public.d VALUES ('short');
CREATE INDEX brief_ones ON public.t (v) WHERE public.fits(v)`,
			query: "SELECT count(*) FROM public.t; SELECT count(*) FROM public.d", want: "1\n1",
		},
		{
			name: "compression",
			sql: `ALTER DATABASE $DB SET default_toast_compression = 'lz4'; SET default_toast_compression = 'lz4';
CREATE TABLE public.packed (v text); INSERT INTO public.packed VALUES (repeat('long', 5000))`,
			query: "SELECT pg_column_compression(v) FROM public.packed", want: "lz4",
		},
		{
			name: "all that changes how values are read and written",
			sql: `ALTER DATABASE $DB SET DateStyle = 'German, DMY'; ALTER DATABASE $DB SET IntervalStyle = 'sql_standard'; ALTER DATABASE $DB SET bytea_output = 'escape'; ALTER DATABASE $DB SET extra_float_digits = -3;
ALTER DATABASE $DB SET xmloption = 'document'; ALTER DATABASE $DB SET quote_all_identifiers = on; ALTER DATABASE $DB SET array_nulls = off; ALTER DATABASE $DB SET standard_conforming_strings = off;
ALTER DATABASE $DB SET transform_null_equals = on; ALTER DATABASE $DB SET client_encoding = 'LATIN1'; ALTER DATABASE $DB SET search_path = ''; ALTER DATABASE $DB SET row_security = off;
ALTER DATABASE $DB SET default_transaction_isolation = 'serializable'; ALTER DATABASE $DB SET default_transaction_deferrable = on; ALTER DATABASE $DB SET client_min_messages = 'debug1';
ALTER DATABASE $DB SET session_replication_role = 'replica'; ALTER DATABASE $DB SET backslash_quote = 'off'; ALTER DATABASE $DB SET check_function_bodies = off; ALTER DATABASE $DB SET lc_monetary = 'C';
CREATE TABLE public.all_of_it (d date, ts timestamp, tz timestamptz DEFAULT '2026-02-03 04:05:06+02', i interval DEFAULT '-1 day 2 hours', b bytea DEFAULT '\x00ff5c', f float8 DEFAULT 0.1234567890123456, x xml, n int[], s text[], t text DEFAULT 'a\b''c', m money,
 CHECK (ts > '2019-01-01 00:00'), CHECK (i < interval '1 year -2 days 03:04:05'), CHECK (b <> '\x5c00'), CHECK (f <> 1.00000000000000002e-7));
INSERT INTO public.all_of_it (d, ts, x, n, s, m) VALUES ('2026-02-03', '2026-02-03 04:05:06.789', XMLPARSE(CONTENT 'a<b/>'), '{1,NULL,3}', '{NULL,"NULL",x}', '12.34')`,
			query: `SELECT d = '2026-02-03' AND n[2] IS NOT DISTINCT FROM NULL::int AND s[1] IS NOT DISTINCT FROM NULL::text AND s[2] = 'NULL' AND f = 0.1234567890123456 AND t = E'a\\b''c' FROM public.all_of_it`, want: "t",
		},
	})
}

// TestTimeoutsAndReadOnly has what ends sessions on the role, on the database and on the
// server: Holdfast's own sessions go on, and the settings come back.
func TestTimeoutsAndReadOnly(t *testing.T) {
	for _, major := range []int{15, 17} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			pg := testenv.NewPostgres(t, major, "max_prepared_transactions=2")
			names := []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"}
			if major >= 17 {
				names = append(names, "transaction_timeout")
			}
			set := func(whose, limit string) {
				t.Helper()
				conn, err := pgx.Connect(t.Context(), patient(pg, "postgres"))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close(t.Context())
				for _, name := range names {
					run(t, conn, whose+" SET "+name+" = '"+limit+"'")
				}
				run(t, conn, whose+" SET default_transaction_read_only = on")
				run(t, conn, "SELECT pg_reload_conf()")
			}
			const slow = `CREATE FUNCTION public.slow(v int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM pg_catalog.pg_sleep(0.01); RETURN v; END $$;
CREATE TABLE public.t (v int, g int GENERATED ALWAYS AS (public.slow(v)) STORED); INSERT INTO public.t SELECT generate_series(1, 20); CREATE INDEX ON public.t (public.slow(v));
CREATE MATERIALIZED VIEW public.seen AS SELECT public.slow(v) FROM public.t`
			mustExec(t, pg, "CREATE ROLE runner SUPERUSER LOGIN PASSWORD 'r'")
			set("ALTER ROLE runner", "2ms")
			for _, of := range []string{"role", "database", "server"} {
				t.Run(of, func(t *testing.T) {
					limit, sql := "2ms", slow
					if of == "server" { // a session must have the time to begin
						limit, sql = "1s", "CREATE FUNCTION public.slow(v int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM pg_catalog.pg_sleep(0.3); RETURN v; END $$; CREATE TABLE public.t (v int); INSERT INTO public.t SELECT generate_series(1, 4); CREATE INDEX ON public.t (public.slow(v))"
					}
					name, other := databaseOf(t, pg, sql), databaseOf(t, pg, "CREATE TABLE public.a (n int)")
					url := func(name string) string {
						if of == "role" {
							return pg.URLAs("runner", "r", name)
						}
						return pg.URL(name)
					}
					switch of {
					case "database":
						set("ALTER DATABASE "+name, limit)
						set("ALTER DATABASE "+other, limit)
					case "server":
						set("ALTER SYSTEM", limit)
						defer func() {
							conn, err := pgx.Connect(t.Context(), patient(pg, "postgres"))
							if err != nil {
								t.Fatal(err)
							}
							defer conn.Close(t.Context())
							run(t, conn, "ALTER SYSTEM RESET ALL")
							run(t, conn, "SELECT pg_reload_conf()")
						}()
					}
					before := describe(t, pg, name)
					b, _, err := dump(t, project.Project{Parts: database(0), Server: server(url(name), pg.Bin)})
					if err != nil {
						t.Fatalf("backup: %v", err)
					}
					said, err := judged(t, b, pg, url(name), nil)
					if err != nil || said != "" {
						t.Fatalf("in place: %v, %s", err, said)
					}
					sameState(t, before, describe(t, pg, name), "")
					said, err = judged(t, b, pg, url(other), func(to *project.Target) { to.Foreign = true })
					if err != nil || said != "" {
						t.Fatalf("into another project: %v, %s", err, said)
					}
					sameState(t, before, describe(t, pg, other), "schema: ", "database: ")
				})
			}
		})
	}
}

// TestSettingsOfTheProjectStay restores into another project, whose settings hold secrets
// and addresses.
func TestSettingsOfTheProjectStay(t *testing.T) {
	pg := testenv.NewPostgres(t, 17)
	name := databaseOf(t, pg, `ALTER DATABASE $DB SET "app.settings.jwt_secret" = 'theirs'; ALTER DATABASE $DB SET "app.settings.api_url" = 'https://theirs.example'; ALTER DATABASE $DB SET "app.tenant" = 'theirs';
ALTER DATABASE $DB SET timezone = 'Europe/Berlin'; ALTER DATABASE $DB SET "pgrst.db_schemas" = 'api, public'; CREATE TABLE a (n int)`)
	own := databaseOf(t, pg, `ALTER DATABASE $DB SET "app.settings.jwt_secret" = 'ours'; ALTER DATABASE $DB SET "app.settings.only_here" = 'ours'; ALTER DATABASE $DB SET statement_timeout = '1h'`)
	b, _ := backUp(t, pg, name)
	said, err := judged(t, b, pg, pg.URL(own), func(to *project.Target) { to.Foreign = true })
	if err != nil {
		t.Fatal(err)
	}
	got := ask(t, pg, own, `SELECT c FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c WHERE d.datname = current_database() ORDER BY 1`)
	if want := "TimeZone=Europe/Berlin\napp.settings.jwt_secret=ours\napp.settings.only_here=ours\napp.tenant=theirs\npgrst.db_schemas=api, public"; got != want {
		t.Errorf("settings %s, want %s", got, want)
	}
	for _, want := range []string{"The setting app.settings.jwt_secret of this project was kept", "The setting app.settings.api_url of the other project was left out"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in %s", want, said)
		}
	}
	if strings.Contains(said, "theirs") || strings.Contains(said, "ours") {
		t.Errorf("a warning tells a value: %s", said)
	}
}
