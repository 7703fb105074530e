package testenv_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/testenv"
)

func TestSupabaseIsRealistic(t *testing.T) {
	for _, major := range []int{15, 17} {
		s := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: major, Objects: 30})
		conn, err := pgx.Connect(t.Context(), s.DB.URL("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		for query, want := range map[string]int{
			"select count(*) from auth.users":                              2000,
			"select count(*) from storage.objects":                         30,
			"select count(*) from cron.job":                                1,
			"select count(*) from vault.decrypted_secrets":                 1,
			"select count(*) from pg_largeobject_metadata":                 3,
			"select count(*) from pg_event_trigger":                        4,
			"select current_setting('server_version_num')::int / 10000":    major,
			"select count(*) from pg_class where relname = 'measurements'": 1,
		} {
			var got int
			if err := conn.QueryRow(t.Context(), query).Scan(&got); err != nil || got != want {
				t.Errorf("PostgreSQL %d: %s: %d, %v; want %d", major, query, got, err, want)
			}
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
