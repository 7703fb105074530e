package project_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

// oddPasswords are what quoting and normalization stumble on.
var oddPasswords = []string{
	"plain", "an0ther 'pass\"word$", `back\slash\`, "tab\tinside", "grüße", "gru\u0308ße", "ﬁne ⅷ", "soft\u00adhyphen", "no\u00a0break", "\u0627\u0031", "unassigned \U0001f9ff", "日本語", "\u00ad",
}

// logsIn reports whether the server's own client logs in.
func logsIn(t *testing.T, pg *testenv.Postgres, role, password string) bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(pg.Bin, "psql"), "-w", "-c", "SELECT 1", fmt.Sprintf("host=127.0.0.1 port=%d user='%s' dbname=postgres", pg.Port, role))
	cmd.Env = append(os.Environ(), "PGPASSWORD="+password)
	out, err := cmd.CombinedOutput()
	if err != nil && !strings.Contains(string(out), "password authentication failed") {
		t.Fatalf("%s", out)
	}
	return err == nil
}

// TestPasswordsAreComparedAndChanged as the server does it.
func TestPasswordsAreComparedAndChanged(t *testing.T) {
	for _, major := range []int{15, 17} {
		for _, method := range []string{"scram-sha-256", "md5"} {
			t.Run(fmt.Sprint(major, " ", method), func(t *testing.T) {
				pg := testenv.NewPostgres(t, major, "password_encryption="+method)
				s := server(pg.URL("postgres"), pg.Bin)
				var sql strings.Builder
				sql.WriteString("SET client_encoding = 'UTF8'; CREATE ROLE closed NOLOGIN PASSWORD 'plain'; CREATE ROLE passwordless LOGIN; CREATE ROLE \"Left alone\" LOGIN PASSWORD 'plain';")
				for i, p := range oddPasswords {
					fmt.Fprintf(&sql, "CREATE ROLE \"Role %d\" LOGIN PASSWORD '%s';", i, strings.ReplaceAll(p, "'", "''"))
				}
				if err := pg.Exec(t.Context(), "postgres", sql.String()); err != nil {
					t.Fatal(err)
				}
				authenticate(t, pg, method, "Role 0", "plain")
				want := map[string][]string{"plain": {"Left alone", "Role 0", "closed"}}
				if method != "md5" { // which knows nothing of Unicode
					want["grüße"], want["gru\u0308ße"] = []string{"Role 4", "Role 5"}, []string{"Role 4", "Role 5"}
				}
				for i, p := range oddPasswords {
					roles, err := s.RolesWith(t.Context(), p)
					if expected := append([]string{fmt.Sprint("Role ", i)}, want[p]...); err != nil || len(want[p]) > 0 && !slices.Equal(roles, want[p]) || len(want[p]) == 0 && !slices.Equal(roles, expected) {
						t.Errorf("%q: %q, %v", p, roles, err)
					}
				}
				for i, p := range oddPasswords {
					next := oddPasswords[(i+1)%len(oddPasswords)]
					if err := s.ChangePasswords(t.Context(), []string{"", p}, next, []string{"Left alone"}); err != nil {
						t.Fatal(err)
					}
					role := fmt.Sprint("Role ", i)
					if !logsIn(t, pg, role, next) {
						t.Errorf("%s does not log in with %q", role, next)
					}
					if prepared := method != "md5" && i == 4; logsIn(t, pg, role, p) != prepared {
						t.Errorf("%s logs in with the old password %q: %t", role, p, !prepared)
					}
				}
				if !logsIn(t, pg, "Left alone", "plain") {
					t.Error("a role was not left alone")
				}
			})
		}
	}
}

// TestLoginsAreProved even on a server that trusts whoever connects.
func TestLoginsAreProved(t *testing.T) {
	pg := testenv.NewPostgres(t, 17)
	s := server(pg.URL("postgres"), pg.Bin)
	if err := pg.Exec(t.Context(), "postgres", `CREATE ROLE good LOGIN PASSWORD 'p'; CREATE ROLE bad LOGIN PASSWORD 'other'; CREATE ROLE closed PASSWORD 'p'; CREATE ROLE over LOGIN PASSWORD 'p' VALID UNTIL '2001-01-01';
CREATE ROLE full LOGIN CONNECTION LIMIT 0 PASSWORD 'p'; CREATE ROLE super SUPERUSER LOGIN PASSWORD 'p'; CREATE TABLE logins (who name); GRANT INSERT ON logins TO PUBLIC;
CREATE FUNCTION note_login() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.logins VALUES (session_user); END'; CREATE EVENT TRIGGER note_login ON login EXECUTE FUNCTION note_login()`); err != nil {
		t.Fatal(err)
	}
	if notTried, err := s.LogIn(t.Context(), []string{"good", "super", "closed", "over", "full", "gone"}, "p"); err != nil || !slices.Equal(notTried, []string{"full"}) {
		t.Errorf("%q, %v", notTried, err)
	}
	bad := func() {
		t.Helper()
		if _, err := s.LogIn(t.Context(), []string{"good", "bad"}, "p"); err == nil || project.Sentence(err) != "The roles bad cannot log in with the password of the project's files." {
			t.Errorf("got %v", err)
		}
	}
	bad()
	if err := pg.Exec(t.Context(), "postgres", "DO $$ BEGIN IF EXISTS (SELECT FROM logins WHERE who IN ('good', 'super')) THEN RAISE 'a login has changed the database'; END IF; END $$"); err != nil {
		t.Error(err)
	}
	authenticate(t, pg, "trust", "bad", "wrong")
	bad()
}

// authenticate lets a server ask for passwords in another way, and waits until a role
// logs in.
func authenticate(t *testing.T, pg *testenv.Postgres, method, role, password string) {
	t.Helper()
	name := filepath.Join(pg.DataDir(), "pg_hba.conf")
	b, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, append([]byte("host all all 127.0.0.1/32 "+method+"\n"), b...), 0o600)
	}
	if err == nil {
		err = pg.Exec(t.Context(), "postgres", "SELECT pg_reload_conf()")
	}
	if err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, time.Minute, func() error {
		if !logsIn(t, pg, role, password) {
			return errors.New("the server does not know of it yet")
		}
		return nil
	})
}

// TestEitherPassword is tried as long as nobody knows which one holds.
func TestEitherPassword(t *testing.T) {
	pg := testenv.NewPostgres(t, 15)
	for name, c := range map[string]struct{ url, want string }{
		"its own":  {pg.URL("postgres"), pg.URL("postgres")},
		"another":  {pg.URLAs(testenv.Superuser, "wrong", "postgres"), pg.URL("postgres")},
		"none":     {pg.URLAs("nobody", "wrong", "postgres"), pg.URLAs("nobody", "wrong", "postgres")},
		"far away": {"postgres://u:p@127.0.0.1:1/postgres", "postgres://u:p@127.0.0.1:1/postgres"},
	} {
		s := &project.Server{URL: func(context.Context) (string, error) { return c.url, nil }}
		if got, err := s.WithPasswords("", "also wrong", pg.Password).URL(t.Context()); err != nil || got != c.want {
			t.Errorf("%s: got %s, %v", name, got, err)
		}
	}
}
