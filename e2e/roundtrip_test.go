package e2e

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/testenv"
	"github.com/holdfast-dev/holdfast/testenv/dbstate"
)

// TestRoundTrip backs up a project with data in every corner, restores it without
// force, and compares all that the databases hold.
func TestRoundTrip(t *testing.T) {
	for _, c := range []roundTrip{
		{name: "15 in place", from: 15, to: 15, inPlace: true},
		{name: "17 in place", from: 17, to: 17, inPlace: true},
		{name: "15 to 17", from: 15, to: 17, password: testenv.ProjectPassword},
		{name: "15 into a new installation", from: 15, to: 15, password: "an0ther 'pass\"word$"},
		{name: "17 into a new installation", from: 17, to: 17, password: "an0ther 'pass\"word$"},
		{name: "the vault of early 2023 in place", from: 15, to: 15, inPlace: true, vault: "0.2.1"},
		{name: "an older vault than the server's", from: 15, to: 15, vault: "0.2.8", password: testenv.ProjectPassword},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // most of the time is spent waiting for jobs of pg_cron
			c.run(t)
		})
	}
}

type roundTrip struct {
	name     string
	from, to int
	inPlace  bool
	password string // of a new installation
	vault    string // version in the backup
}

func (c roundTrip) run(t *testing.T) {
	src := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: c.from, Hard: true, Objects: 40, Vault: c.vault})
	dir := t.TempDir()
	conf := func(s *testenv.Supabase) string {
		return config(dir+"/data", dir+"/backups", fmt.Sprintf(`{id: p, supabase: %s, database: {tools: %s, root_key: %s}}`, s.Dir, s.DB.Bin, s.DB.RootKeyFile()), "")
	}
	d := start(t, conf(src))
	d.ready()
	a := d.call("POST", "/backups", full)
	d.want(a, 201)
	to := src
	if !c.inPlace {
		to = testenv.NewSupabase(t, testenv.SupabaseConfig{Major: c.to, Hard: true, Fresh: true, Password: c.password})
	}
	before := c.describe(t, src, to.DB.Bin)
	if c.inPlace {
		damage(t, src)
		if err := src.DB.Exec(t.Context(), "postgres", hardDamage); err != nil {
			t.Fatal(err)
		}
	} else {
		reinstall(t, d, src, to, conf(to))
	}
	warnings := restoreAsPlanned(t, d, fmt.Sprint(a.backup()["id"]))
	to.DB.Password = testenv.ProjectPassword // as at the backup
	if slices.ContainsFunc(warnings, func(w string) bool { return strings.Contains(w, "estart the database") }) {
		to.DB.Signal(syscall.SIGINT)
		if err := to.DB.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c.compare(t, before, c.describe(t, to, to.DB.Bin), warnings)
	logInAsServices(t, to)
	jobsRun(t, to.DB)
	sh(t, to.Dir, fmt.Sprintf("sed -i 's/:%d:5432/:%d:5432/' docker-compose.yml", src.DB.Port, to.DB.Port)) // the port of a test's server is another one each time
	d.want(d.call("POST", "/backups", full), 201)
}

// reinstall puts a new installation, with a root key of its own, in the place of a
// project that is lost.
func reinstall(t *testing.T, d *daemon, lost, fresh *testenv.Supabase, conf string) {
	t.Helper()
	lost.Stop()
	if err := os.WriteFile(fresh.DB.RootKeyFile(), []byte(strings.Repeat("0", 64)), 0o600); err != nil {
		t.Fatal(err)
	}
	d.kill(syscall.SIGTERM)
	if err := os.WriteFile(d.config, []byte(strings.ReplaceAll(conf, "PORT", fmt.Sprint(d.port))), 0o600); err != nil {
		t.Fatal(err)
	}
	d.run()
	d.ready()
}

// restoreAsPlanned restores a backup of which a dry run says that it would succeed, and
// returns the warnings.
func restoreAsPlanned(t *testing.T, d *daemon, id string) []string {
	t.Helper()
	path := "/backups/" + id + "/restore"
	dry := d.call("POST", path, `{"dryRun":true}`)
	d.want(dry, 200)
	if r := dry.restore(t); r.Plan == nil || !r.Plan.WouldSucceed {
		t.Errorf("dry run: %s", dry.body)
	}
	a := d.call("POST", path, `{}`)
	d.want(a, 200)
	if a.status != 200 {
		t.FailNow()
	}
	warnings := a.restore(t).Warnings
	for _, w := range warnings {
		t.Log("warning:", w)
	}
	return warnings
}

// hardDamage does to a project with hard.sql what damage does to others.
const hardDamage = `
DROP TABLE public.places CASCADE; DELETE FROM cron.job; DELETE FROM pgmq.q_mails; DROP EVENT TRIGGER log_ddl; DROP PUBLICATION ordered; DROP STATISTICS IF EXISTS public.places_stat;
ALTER FUNCTION extensions.gen_random_bytes(int) SECURITY INVOKER; ALTER FUNCTION net.http_post SECURITY INVOKER; ALTER DATABASE postgres RESET "app.tenant"; ALTER DATABASE postgres SET timezone = 'UTC';
REVOKE app_reader FROM app_owner; DROP MATERIALIZED VIEW public.daily; SELECT lo_unlink(4711); DELETE FROM extensions.spatial_ref_sys; DELETE FROM public.sorted;
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner REVOKE SELECT ON TABLES FROM app_reader; ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM anon`

// describe returns what the databases and the folders of a project hold. bin is whose
// pg_dump writes the schema.
func (c roundTrip) describe(t *testing.T, s *testenv.Supabase, bin string) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, database := range []string{"postgres", "_supabase"} {
		state, err := dbstate.State(t.Context(), s.DB.URL(database))
		if err != nil {
			t.Fatal(err)
		}
		if state["schema"], err = dbstate.Schema(t.Context(), bin, s.DB.URL(database)); err != nil {
			t.Fatal(err)
		}
		for what, lines := range state {
			for _, line := range lines {
				if line = c.normal(what, line); line != "" {
					out[database+" "+what] = append(out[database+" "+what], line)
				}
			}
		}
	}
	const files = `find . -mindepth 1 -not -path '*/.holdfast-*' -printf '%P %y %m %l\n'; find . -type f -not -path '*/.holdfast-*' -exec sha256sum {} +; find . -type f -not -path '*/.holdfast-*' -exec getfattr -d {} +`
	for _, folder := range []string{"volumes/storage", "volumes/functions"} {
		out[folder] = slices.Sorted(strings.SplitSeq(sh(t, filepath.Join(s.Dir, folder), files), "\n"))
	}
	return out
}

// looseText is what changes in the text of a definition, and not in its meaning, when
// it is dumped and restored: BETWEEN beside AND, IN on varchar.
var looseText = strings.NewReplacer("(", "", ")", "", "::text[]", "", "::text", "", "::character varying", "")

// created is what remains of the schema from one major version to another, which write
// definitions in other words.
var created = regexp.MustCompile(`^CREATE [A-Z ]+ \S+`)

// normal leaves out of a line what may differ.
func (c roundTrip) normal(what, line string) string {
	same := c.from == c.to
	switch what {
	case "schema":
		if same {
			return looseText.Replace(line)
		}
		return created.FindString(line)
	case "acls", "default_acls":
		if !same { // MAINTAIN came with PostgreSQL 17
			return strings.NewReplacer("Dxtm", "Dxt", "D*x*t*m*", "D*x*t*").Replace(line)
		}
	case "memberships":
		if !same { // they had no options before PostgreSQL 16
			line, _, _ = strings.Cut(line, " by ")
		}
	case "publications":
		if !same { // PostgreSQL 17 does not list generated columns
			line, _, _ = strings.Cut(line, "{")
		}
	case "members":
		if !same && strings.Contains(line, ": type ") { // since PostgreSQL 17 the types of tables and arrays are members too
			return ""
		}
	}
	return line
}

// A difference may be that a restore cannot avoid. If it names a warning, there must
// be one that says so.
type difference struct{ line, warning string }

var expected = []difference{
	{`rows: . (public\.heartbeat|cron\.job_run_details):`, ""},                                            // jobs go on
	{`sequences: . cron runid_seq `, ""},                                                                  // so does their number
	{`sequences: . graphql seq_schema_version `, ""},                                                      // each DDL command moves it
	{`schema: . (GRANT|REVOKE) `, ""},                                                                     // see acls: pg_dump leaves out what it takes for an extension's own
	{`(owners|acls): . .* extensions\.|extensions: . (pgcrypto|uuid-ossp|pg_stat_statements|pgjwt) `, ""}, // no dump knows the owners of extensions
	{`indexes: - public\.hard_invalid|(owners|relations|schema): - .*hard_invalid`, ""},                   // pg_dump leaves invalid indexes out
	{`memberships: . app_reader to `, "app_reader"},
}

// expectedFrom15To17 are extensions of other versions, each of which is warned of.
var expectedFrom15To17 = []difference{
	{`extensions: . pg_cron |(members|functions|relations|indexes|triggers|acls|owners|sequences|constraints|cron_jobs|comments): . .*cron\.?`, "pg_cron"},
	{`extensions: . postgis |(members|functions|relations|comments): . .*extensions\.|members: . postgis:|rows: . extensions\.spatial_ref_sys:`, "postgis"},
	{`(extensions|members|functions): . .*(pgaudit|hypopg|plpgsql_check|pg_stat_statements|dblink|hstore|pg_trgm|ltree|citext|cube|unaccent|pgcrypto|earthdistance|btree_gist)`, "pgaudit"},
	{`(extensions|members|functions|acls|owners): . .*pgjwt|extensions\.(sign|url_encode)`, ""},
	{`database: `, ""}, // the column of the locale has another name
}

func (c roundTrip) compare(t *testing.T, before, after map[string][]string, warnings []string) {
	t.Helper()
	known := slices.Clone(expected)
	if c.from != c.to {
		known = append(known, expectedFrom15To17...)
	}
	shown := 0
	for _, line := range dbstate.Diff(before, after) {
		if slices.ContainsFunc(known, func(d difference) bool {
			return regexp.MustCompile(d.line).MatchString(line) && slices.ContainsFunc(append(warnings, d.warning), func(w string) bool { return d.warning == "" || w != d.warning && strings.Contains(w, d.warning) })
		}) {
			continue
		}
		if shown++; shown <= 60 {
			t.Errorf("not as it was: %.300s", line)
		}
	}
	if shown > 60 {
		t.Errorf("and %d more", shown-60)
	}
}

// logInAsServices connects as every role of the services with the password in .env.
func logInAsServices(t *testing.T, s *testenv.Supabase) {
	t.Helper()
	passwords := map[string]string{}
	for _, role := range testenv.ServiceRoles {
		passwords[role] = passwordInEnv(t, s.Dir)
	}
	maps.Copy(passwords, map[string]string{"app_owner": "fixture-app", "Odd role": "fixture-odd"})
	for role, password := range passwords {
		conn, err := pgx.Connect(t.Context(), s.DB.URLAs(role, password, "postgres"))
		if err != nil {
			t.Errorf("%s cannot log in: %v", role, err)
			continue
		}
		_ = conn.Close(t.Context())
	}
}

func passwordInEnv(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, ".env"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut("\n"+string(b), "\nPOSTGRES_PASSWORD=")
	value, _, _ := strings.Cut(rest, "\n")
	if inner, ok := strings.CutPrefix(value, "'"); ok {
		return strings.TrimSuffix(inner, "'")
	}
	return regexp.MustCompile(`\\(.)`).ReplaceAllString(strings.Trim(value, `"`), "$1")
}

// jobsRun waits until pg_cron has run a job.
func jobsRun(t *testing.T, pg *testenv.Postgres) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pg.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var now time.Time
	if err := conn.QueryRow(t.Context(), "SELECT clock_timestamp()").Scan(&now); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 3*time.Minute, func() error { // pg_cron of 15 runs once a minute
		var ran bool
		err := conn.QueryRow(t.Context(), "SELECT at > $1 FROM public.heartbeat", now).Scan(&ran)
		if err == nil && !ran {
			err = errors.New("no job has run since the restore")
		}
		return err
	})
}
