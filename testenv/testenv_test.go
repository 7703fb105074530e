package testenv_test

import (
	"context"
	"errors"
	"os"
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
	s := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: 15, Fresh: true, Password: "another"})
	wantCount(t, s.DB, "select count(*) from pg_class where relnamespace = 'public'::regnamespace", 0)
	wantCount(t, s.DB, "select count(*) from auth.users", 0)
	logIn(t, s.DB, "another")
}

func TestHardProject(t *testing.T) {
	for _, major := range []int{15, 17} {
		s := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: major, Hard: true})
		for query, want := range map[string]int{
			"select count(*) from pgmq.q_mails":                                             24,
			"select count(*) from pgmq.a_mails":                                             1,
			"select count(*) from public.sorted_am":                                         3,
			"select count(*) from public.mine":                                              1,
			"select count(*) from pg_index where not indisvalid":                            1,
			"select count(*) from vault.decrypted_secrets where name = 'smtp_pass'":         1,
			"select count(*) from pg_proc where proname = 'http_post' and prosecdef":        1,
			"select count(*) from pg_proc where proname = 'gen_random_bytes' and prosecdef": 1,
			"select count(*) from pg_event_trigger where evtname = 'graphql_watch_ddl'":     1,
		} {
			wantCount(t, s.DB, query, want)
		}
		wantCount(t, s.DB, "with a as (select last_value from graphql.seq_schema_version) select (last_value > 100)::int from a", 1)
		if err := s.DB.Exec(t.Context(), "_supabase", "CREATE EXTENSION pg_cron"); err == nil || !strings.Contains(err.Error(), "can only create extension in database postgres") {
			t.Errorf("pg_cron in another database: %v", err)
		}
	}
}

// TestJobsRun waits for a job of pg_cron.
func TestJobsRun(t *testing.T) {
	s := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: 17, Hard: true})
	if err := s.DB.Exec(t.Context(), "postgres", "SELECT cron.schedule('quick', '1 second', 'UPDATE public.heartbeat SET at = clock_timestamp()')"); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 30*time.Second, func() error {
		if scalar(t, s.DB, "select count(*) from public.heartbeat where at > now() - interval '1 minute'") != 1 {
			return errors.New("the job has not run")
		}
		return nil
	})
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
		if err := s.DB.Exec(t.Context(), "postgres", "ALTER EXTENSION supabase_vault UPDATE"); err != nil {
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
	if got := scalar(t, pg, query); got != want {
		t.Errorf("PostgreSQL %d: %s: %d, want %d", pg.Major, query, got, want)
	}
}

func scalar(t *testing.T, pg *testenv.Postgres, query string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pg.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}
