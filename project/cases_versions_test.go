package project_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

// TestVaultsOfOtherTimes restores secrets: with the vault of the backup where the server
// has it, or with a word about those that cannot be read any more.
func TestVaultsOfOtherTimes(t *testing.T) {
	src := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: 15, Vault: "0.2.8", Fresh: true, Hard: true})
	mustExec(t, src.DB, "SELECT vault.create_secret('hush', 'smtp'); SELECT vault.create_secret('quiet', 'stripe')")
	const secrets = "SELECT name, decrypted_secret FROM vault.decrypted_secrets ORDER BY 1"
	b, _ := backUp(t, src.DB, "postgres")
	newer := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: 15, Fresh: true, Hard: true})

	said, err := judged(t, b, newer.DB, newer.DB.URL("postgres"), nil)
	if err != nil {
		t.Fatalf("with both versions: %v", err)
	}
	if got := ask(t, newer.DB, "postgres", secrets+"; SELECT extversion FROM pg_extension WHERE extname = 'supabase_vault'"); got != "smtp|hush\nstripe|quiet\n0.2.8" || strings.Contains(said, "vault") {
		t.Errorf("with both versions: %s, warnings %s", got, said)
	}

	files, err := filepath.Glob(filepath.Join(newer.DB.ExtensionDir(), "supabase_vault--0.2*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	to, _ := target(t, b, project.Database, server(newer.DB.URL("postgres"), newer.DB.Bin))
	checks, err := (&project.DatabasePart{}).Restoration(to).Check(t.Context())
	if got := strings.Join(problems(checks), " "); err != nil || !strings.Contains(got, "The server does not have version 0.2.8 of the extension supabase_vault, and the one that it has, 0.3.1, does not take the rows of the backup") {
		t.Errorf("checks %s, %v", got, err)
	}
	if _, err := judged(t, b, newer.DB, newer.DB.URL("postgres"), nil); err == nil {
		t.Error("restored with a vault that cannot read it")
	}
	said, err = judged(t, b, newer.DB, newer.DB.URL("postgres"), func(to *project.Target) { to.Force = true })
	if err != nil {
		t.Fatalf("forced: %v", err)
	}
	for _, name := range []string{"smtp", "stripe"} {
		if strings.Count(said, "The vault secret "+name+" cannot be decrypted: the extension supabase_vault is at another version than at the backup.") != 1 {
			t.Errorf("%s is not named in %s", name, said)
		}
	}
}

// TestTheKeyThatPgsodiumInserts has a key of the extension's script in the way of those of
// the backup.
func TestTheKeyThatPgsodiumInserts(t *testing.T) {
	src := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: 15, Vault: "0.2.1", Fresh: true, Hard: true})
	mustExec(t, src.DB, "SELECT vault.create_secret('hush', 'smtp')")
	before := describe(t, src.DB, "postgres")
	b, _ := backUp(t, src.DB, "postgres")
	said, err := judged(t, b, src.DB, src.DB.URL("postgres"), nil)
	if err != nil || !strings.HasPrefix(said, `The background worker "pg_cron launcher"`) || strings.Contains(said, "\n") {
		t.Fatalf("%v, %s", err, said)
	}
	// What the script granted on its schema is the database's own afterwards.
	sameState(t, before, describe(t, src.DB, "postgres"), "schema: + GRANT USAGE ON SCHEMA vault", "sequences: - graphql", "sequences: + graphql")
	if got := ask(t, src.DB, "postgres", "SELECT decrypted_secret FROM vault.decrypted_secrets"); got != "hush" {
		t.Errorf("secrets %s", got)
	}
}

// sorted is what the order of texts decides.
const sorted = `CREATE TABLE public.sorted (k text CHECK (k >= 'a' AND k < 'zzz')) PARTITION BY RANGE (k); CREATE TABLE public.sorted_am PARTITION OF public.sorted FOR VALUES FROM ('a') TO ('n'); CREATE TABLE public.sorted_nz PARTITION OF public.sorted FOR VALUES FROM ('n') TO (MAXVALUE);
INSERT INTO public.sorted VALUES ('apple'), ('Banana'), ('Äpfel'), ('Zebra'), ('nut'), ('Östlich'); CREATE INDEX ON public.sorted (k)`

// TestLocales restores databases whose locale is not the server's.
func TestLocales(t *testing.T) {
	const both = "SELECT count(*) FROM public.sorted_am; SELECT count(*) FROM public.sorted_nz; SELECT string_agg(k, ' ' ORDER BY k) FROM public.sorted"
	runTrips(t, []trip{
		{name: "ICU", locale: "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'", sql: sorted, query: both, want: "3\n3\nÄpfel apple Banana nut Östlich Zebra"},
		{name: "ICU with rules", major: 17, locale: "LOCALE_PROVIDER icu ICU_LOCALE 'en-US' ICU_RULES '&z < a'", sql: "CREATE TABLE public.sorted (k text); INSERT INTO public.sorted VALUES ('a'), ('z'), ('b')", query: "SELECT string_agg(k, ' ' ORDER BY k) FROM public.sorted", want: "b z a"},
		{name: "C of the library", locale: "LOCALE 'C'", sql: strings.ReplaceAll(strings.ReplaceAll(sorted, "CHECK (k >= 'a' AND k < 'zzz')", ""), "FROM ('a')", "FROM ('A')"), query: "SELECT string_agg(k, ' ' ORDER BY k) FROM public.sorted", want: "Banana Zebra apple nut Äpfel Östlich"},
		{name: "built in", major: 17, locale: "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'", sql: "CREATE TABLE public.sorted (k text); INSERT INTO public.sorted VALUES ('b'), ('A')", query: "SELECT upper(string_agg(k, 'ä' ORDER BY k)) FROM public.sorted", want: "AÄB"},
	})
}

// TestCollationVersion warns when the order of the backup was another version's.
func TestCollationVersion(t *testing.T) {
	for _, major := range []int{15, 17} {
		pg := testenv.NewPostgres(t, major)
		name := databaseOf(t, pg, sorted, "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
		b, _ := backUp(t, pg, name)
		version := ask(t, pg, name, "SELECT datcollversion FROM pg_database WHERE datname = current_database()")
		said, err := judged(t, b, pg, pg.URL(name), func(to *project.Target) {
			to.Prints = []byte(strings.ReplaceAll(string(to.Prints), `"collation_version": "`+version+`"`, `"collation_version": "1.2.3"`))
		})
		want := fmt.Sprintf("The database %s sorted text by version 1.2.3 of its collation, the server sorts by version %s", name, version)
		if err != nil || !strings.HasPrefix(said, want) || !strings.Contains(said, "REINDEX") || strings.Contains(said, "\n") {
			t.Errorf("%d: %v, %s", major, err, said)
		}
	}
}

// TestFrom15To17 brings roles, memberships, privileges and definitions to a newer server
// that has none of the roles.
func TestFrom15To17(t *testing.T) {
	old, newer := testenv.NewPostgres(t, 15), testenv.NewPostgres(t, 17)
	mustExec(t, old, `CREATE ROLE app_reader; CREATE ROLE app_svc LOGIN; CREATE ROLE app_admin CREATEROLE; GRANT app_reader TO app_admin WITH ADMIN OPTION; SET ROLE app_admin; GRANT app_reader TO app_svc; RESET ROLE; CREATE ROLE late; GRANT late TO app_svc GRANTED BY supabase_admin`)
	name := databaseOf(t, old, `CREATE TABLE public.t (a int, v varchar CHECK (v IN ('a', 'b')), CHECK (a BETWEEN 1 AND 5 AND a > 0)); INSERT INTO public.t VALUES (1, 'a'); ALTER DEFAULT PRIVILEGES FOR ROLE app_admin GRANT ALL ON TABLES TO app_reader; GRANT ALL ON public.t TO app_reader; ALTER TABLE public.t OWNER TO app_admin;
ALTER DEFAULT PRIVILEGES FOR ROLE app_admin IN SCHEMA public GRANT SELECT ON TABLES TO app_svc; CREATE MATERIALIZED VIEW public.m AS SELECT a FROM public.t; CREATE EXTENSION pgcrypto; ALTER FUNCTION public.gen_random_bytes(int) SECURITY DEFINER SET search_path = 'public'; REVOKE EXECUTE ON FUNCTION public.crypt(text, text) FROM PUBLIC`)
	b, _ := backUp(t, old, name)
	mustExec(t, newer, "CREATE DATABASE "+name)
	said, err := judged(t, b, newer, newer.URL(name), nil)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(said, "\n") {
		if !strings.HasPrefix(line, "The role ") || !strings.HasSuffix(line, " was missing on the server and was made.") {
			t.Errorf("warning: %s", line)
		}
	}
	const members = "SELECT r.rolname, m.rolname, a.admin_option FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member WHERE r.rolname !~ '^pg_' AND m.rolname <> 'supabase_admin' ORDER BY 1, 2"
	if was, is := ask(t, old, name, members), ask(t, newer, name, members); was != is || !strings.Contains(is, "app_reader|app_svc") {
		t.Errorf("members %s, were %s", is, was)
	}
	const attributes = "SELECT prosecdef, proconfig FROM pg_proc WHERE proname = 'gen_random_bytes'; SELECT has_function_privilege('app_svc', 'public.crypt(text, text)', 'EXECUTE')"
	if was, is := ask(t, old, name, attributes), ask(t, newer, name, attributes); was != is {
		t.Errorf("attributes %s, were %s", is, was)
	}
}

// TestListsInOrder has publications and privileges whose parts come in another order.
func TestListsInOrder(t *testing.T) {
	runTrips(t, []trip{{
		name:  "tables of a publication",
		sql:   "CREATE TABLE z1 (a int PRIMARY KEY, b int); CREATE TABLE a2 (a int); CREATE PUBLICATION p FOR TABLE z1, a2; CREATE PUBLICATION q FOR TABLE z1 (b, a) WHERE (a > 1); CREATE PUBLICATION every FOR ALL TABLES; CREATE PUBLICATION none; CREATE SCHEMA s; CREATE TABLE s.t (a int); CREATE PUBLICATION r FOR TABLES IN SCHEMA s, public",
		query: "SELECT count(*) FROM pg_publication_tables", want: "9",
	}, {
		name:  "attributes of functions of extensions",
		sql:   "CREATE SCHEMA extensions; CREATE EXTENSION pgcrypto SCHEMA extensions; ALTER FUNCTION extensions.gen_random_bytes(int) SECURITY DEFINER SET search_path = 'public'; ALTER FUNCTION extensions.crypt(text, text) COST 7 PARALLEL RESTRICTED; ALTER FUNCTION extensions.digest(text, text) SET work_mem = '5MB'; REVOKE EXECUTE ON FUNCTION extensions.hmac(text, text, text) FROM PUBLIC",
		query: "SELECT count(*) FROM pg_proc WHERE proname = 'gen_random_bytes' AND prosecdef", want: "1",
	}})
}
