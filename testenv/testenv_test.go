package testenv_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/testenv"
)

func TestSupabaseIsRealistic(t *testing.T) {
	for _, major := range []int{15, 17} {
		s := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: major, Objects: 30})
		for query, want := range map[string]int{
			"select count(*) from auth.users":      2000,
			"select count(*) from storage.objects": 30,
			"select count(*) from cron.job":        1,
			"select count(*) from vault.decrypted_secrets where decrypted_secret = 's3cret value'": 1,
			"select count(*) from pg_largeobject_metadata":                                         3,
			"select current_setting('server_version_num')::int / 10000":                            major,
			"select count(*) from pg_class where relname = 'measurements'":                         1,
			"select count(*) from pg_database where datlocprovider = 'i' and datname = 'postgres'": 1,
			"select count(*) from pg_roles where rolname = 'postgres' and not rolsuper":            1,
			"select count(*) from pg_available_extension_versions where name = 'supabase_vault'":   3,
		} {
			wantCount(t, s.DB, query, want)
		}
		logIn(t, s.DB, testenv.ProjectPassword)
	}
}

// TestFreshProject has another password and nothing of a user.
func TestFreshProject(t *testing.T) {
	s := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: 15, Fresh: true, Password: "another", Name: "second"})
	wantCount(t, s.DB, "select count(*) from pg_class where relnamespace = 'public'::regnamespace", 0)
	wantCount(t, s.DB, "select count(*) from auth.users", 0)
	logIn(t, s.DB, "another")
	if b, err := os.ReadFile(filepath.Join(s.Dir, "docker-compose.yml")); err != nil || !strings.Contains(string(b), "name: second\n") || !strings.Contains(string(b), "container_name: second-db\n") {
		t.Errorf("%v: %s", err, b)
	}
}

func TestHardProject(t *testing.T) {
	for _, major := range []int{15, 17} {
		s := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: major, Hard: true, Settings: []string{"output_plugin_libraries=pgoutput, wal2json"}})
		for query, want := range map[string]int{
			"select count(*) from pgmq.q_mails":                                                                                             24,
			"select count(*) from pgmq.a_mails":                                                                                             1,
			"select count(*) from public.sorted_am":                                                                                         3,
			"select count(*) from public.mine":                                                                                              1,
			"select count(*) from pg_index where not indisvalid":                                                                            1,
			"select count(*) from vault.decrypted_secrets where name = 'smtp_pass'":                                                         1,
			"select count(*) from pg_proc where proname = 'http_post' and prosecdef":                                                        1,
			"select count(*) from pg_proc where proname = 'gen_random_bytes' and prosecdef":                                                 1,
			"select count(*) from pg_create_logical_replication_slot('changes', 'wal2json', true)":                                          1,
			"select round(extensions.st_x(extensions.st_transform(extensions.st_setsrid(extensions.st_makepoint(1, 0), 4326), 3857)))::int": 111319,
			"select count(*) from pg_event_trigger where evtname = 'graphql_watch_ddl'":                                                     1,
		} {
			wantCount(t, s.DB, query, want)
		}
		wantCount(t, s.DB, "with a as (select last_value from graphql.seq_schema_version) select (last_value > 100)::int from a", 1)
		if err := s.DB.Exec(t.Context(), "_supabase", "CREATE EXTENSION pg_cron"); err == nil || !strings.Contains(err.Error(), "can only create extension in database postgres") {
			t.Errorf("pg_cron in another database: %v", err)
		}
	}
}

// TestJobsRun waits for a job of pg_cron, which on 15 runs once a minute.
func TestJobsRun(t *testing.T) {
	for _, major := range []int{15, 17} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			s := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: major, Hard: true})
			testenv.Eventually(t, 2*time.Minute, func() error {
				if scalar(t, s.DB, "select count(*) from public.heartbeat where at > now() - interval '1 minute'") != 1 {
					return errors.New("the job has not run")
				}
				return nil
			})
		})
	}
}

// TestPlainRestoreStumbles shows that pg_dump and pg_restore alone lose what they lose
// of a real project: the fixture is no friendlier.
func TestPlainRestoreStumbles(t *testing.T) {
	for _, c := range []struct {
		config  testenv.SupabaseConfig
		says    string
		queries map[string]int
	}{
		{testenv.SupabaseConfig{Major: 17, Hard: true}, "can only create extension in database postgres", map[string]int{
			"select count(*) from pg_extension where extname = 'pg_cron'":                          0,
			"select count(*) from pg_class where relname = 'q_mails'":                              0,
			"select count(*) from pgmq.meta":                                                       0,
			"select count(*) from pg_proc where proname = 'http_post' and prosecdef":               0,
			"select has_schema_privilege('anon', 'graphql', 'USAGE')::int":                         0,
			"select count(*) from pg_class where relname = 'hard_invalid'":                         0,
			"select count(*) from pg_proc where proname = 'gen_random_bytes' and prosecdef":        0,
			"select count(*) from app.data":                                                        0,
			"select count(*) from public.docs":                                                     0,
			"select count(*) from vault.decrypted_secrets where decrypted_secret = 's3cret value'": 1,
		}},
		{testenv.SupabaseConfig{Major: 15, Vault: "0.2.1"}, "key_key_id_key_context_key_type_idx", nil},
		{testenv.SupabaseConfig{Major: 15, Vault: "0.2.8"}, `relation "decrypted_secrets" already exists`, nil},
	} {
		s := testenv.NewSupabase(t, c.config)
		if err := s.DB.Exec(t.Context(), "postgres", "CREATE DATABASE plain TEMPLATE template0"); err != nil {
			t.Fatal(err)
		}
		dump := filepath.Join(t.TempDir(), "dump")
		if out, err := exec.CommandContext(t.Context(), s.DB.Bin+"/pg_dump", "-Fc", "-f", dump, "-d", s.DB.URL("postgres")).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		out, _ := exec.CommandContext(t.Context(), s.DB.Bin+"/pg_restore", "-d", s.DB.URL("plain"), dump).CombinedOutput() // it fails in parts
		if !strings.Contains(string(out), c.says) {
			t.Errorf("%q is not in %s", c.says, out)
		}
		for query, want := range c.queries {
			wantCountIn(t, s.DB, "plain", query, want)
		}
	}
}

// TestVaults decrypts with the right root key only, and updates an old vault.
func TestVaults(t *testing.T) {
	for _, version := range []string{"0.2.1", "0.2.8", "0.3.1"} {
		s := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: 15, Vault: version})
		const secrets = "select count(*) from vault.decrypted_secrets where decrypted_secret = 's3cret value' and secret <> decrypted_secret"
		wantCount(t, s.DB, secrets, 1)
		key, err := os.ReadFile(s.DB.RootKeyFile())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.DB.RootKeyFile(), []byte(strings.Repeat("00", 32)), 0o644); err != nil {
			t.Fatal(err)
		}
		err = s.DB.Exec(t.Context(), "postgres", secrets)
		if err == nil || !strings.Contains(err.Error(), "pgsodium_crypto_aead_det_decrypt_by_id: invalid ciphertext") {
			t.Errorf("%s, another root key: %v", version, err)
		}
		if err := os.WriteFile(s.DB.RootKeyFile(), key, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := s.DB.Exec(t.Context(), "postgres", "ALTER EXTENSION supabase_vault UPDATE TO '0.3.1'"); err != nil {
			t.Errorf("%s: %v", version, err)
		}
		wantCount(t, s.DB, secrets, 1)
	}
}

// logIn connects as every service role.
func logIn(t *testing.T, pg *testenv.Postgres, password string) {
	t.Helper()
	for _, role := range testenv.ServiceRoles {
		conn, err := pgx.Connect(t.Context(), pg.URLAs(role, password, "postgres"))
		if err != nil {
			t.Errorf("%s: %v", role, err)
			continue
		}
		_ = conn.Close(t.Context())
	}
}

func wantCount(t *testing.T, pg *testenv.Postgres, query string, want int) {
	t.Helper()
	wantCountIn(t, pg, "postgres", query, want)
}

func wantCountIn(t *testing.T, pg *testenv.Postgres, database, query string, want int) {
	t.Helper()
	if got := scalarIn(t, pg, database, query); got != want {
		t.Errorf("PostgreSQL %d: %s: %d, want %d", pg.Major, query, got, want)
	}
}

func scalar(t *testing.T, pg *testenv.Postgres, query string) int {
	t.Helper()
	return scalarIn(t, pg, "postgres", query)
}

func scalarIn(t *testing.T, pg *testenv.Postgres, database, query string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pg.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}
