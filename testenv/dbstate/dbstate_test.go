package dbstate_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/testenv"
	"github.com/holdfast-dev/holdfast/testenv/dbstate"
)

// TestEveryChangeShows changes one thing of each kind.
func TestEveryChangeShows(t *testing.T) {
	for _, major := range []int{15, 17} {
		s := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: major, Hard: true, Objects: 1})
		url := s.DB.URL("postgres")
		state := func() map[string][]string {
			t.Helper()
			m, err := dbstate.State(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			if m["schema"], err = dbstate.Schema(t.Context(), s.DB.Bin, url); err != nil {
				t.Fatal(err)
			}
			return m
		}
		// Jobs that run would change rows meanwhile.
		if err := s.DB.Exec(t.Context(), "postgres", "UPDATE cron.job SET active = false"); err != nil {
			t.Fatal(err)
		}
		before := state()
		if d := dbstate.Diff(before, state()); len(d) > 0 {
			t.Fatalf("two looks differ: %v", d)
		}
		for _, change := range []struct{ what, sql string }{
			{"rows", "UPDATE public.members SET team = NULL WHERE id = 1"},
			{"queues", "DELETE FROM pgmq.meta"},
			{"sequences", "SELECT setval('pgmq.q_mails_msg_id_seq', 900)"},
			{"owners", "ALTER TABLE public.loose OWNER TO app_owner"},
			{"acls", "REVOKE SELECT (id) ON public.places FROM app_owner"},
			{"memberships", "REVOKE app_reader FROM app_owner"},
			{"roles", "ALTER ROLE app_admin CONNECTION LIMIT 8"},
			{"default_acls", "ALTER DEFAULT PRIVILEGES FOR ROLE app_owner REVOKE SELECT ON TABLES FROM app_reader"},
			{"settings", "ALTER ROLE app_owner IN DATABASE postgres RESET search_path"},
			{"database", "COMMENT ON DATABASE postgres IS 'other'"},
			{"event_triggers", "ALTER EVENT TRIGGER disabled_one ENABLE"},
			{"publications", "ALTER PUBLICATION ordered DROP TABLE public.dups"},
			{"cron_jobs", "UPDATE cron.job SET schedule = '1 1 1 1 1'"},
			{"members", "ALTER EXTENSION pgmq DROP TABLE pgmq.a_mails"},
			{"functions", "ALTER FUNCTION extensions.gen_random_bytes(int) SECURITY INVOKER"},
			{"secrets", "SELECT vault.create_secret('x', 'y')"},
			{"large_objects", "SELECT lo_put(4711, 0, 'x')"},
			{"comments", "COMMENT ON LARGE OBJECT 4711 IS 'other'"},
			{"triggers", "ALTER TABLE public.orders ENABLE TRIGGER order_webhook"},
			{"indexes", "REINDEX INDEX public.hard_invalid"},
			{"constraints", "ALTER TABLE public.many DROP CONSTRAINT positive"},
			{"schema", "ALTER TABLE public.ruled ADD COLUMN b int"},
			{"subscriptions", "DROP SUBSCRIPTION asleep"},
		} {
			if err := s.DB.Exec(t.Context(), "postgres", change.sql); err != nil {
				t.Fatalf("%s: %v", change.sql, err)
			}
			after := state()
			if d := dbstate.Diff(before, after); !slices.ContainsFunc(d, func(d string) bool { return strings.HasPrefix(d, change.what+": ") }) {
				t.Errorf("%s does not show in %s: %v", change.sql, change.what, d)
			}
			before = after
		}
	}
}
