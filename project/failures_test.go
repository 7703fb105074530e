package project_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

func server(url, tools string) *project.Server {
	return &project.Server{URL: func(context.Context) (string, error) { return url, nil }, Tools: tools}
}

func database(timeout time.Duration) []project.Part {
	return []project.Part{&project.DatabasePart{LockTimeout: timeout}}
}

// wantSentence checks what the operator reads.
func wantSentence(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(project.Sentence(err), w) {
			t.Errorf("%q does not say %q (%v)", project.Sentence(err), w, err)
		}
	}
}

func TestDatabaseFailuresAreSentences(t *testing.T) {
	pg := testenv.NewPostgres(t, 15)
	url := pg.URL("postgres")
	try := func(url, tools string) error {
		_, _, err := dump(t, project.Project{Parts: database(500 * time.Millisecond), Server: server(url, tools)})
		return err
	}
	wantSentence(t, try(strings.Replace(url, testenv.Password, "wrong", 1), pg.Bin), "refused the password of supabase_admin", "POSTGRES_PASSWORD")
	wantSentence(t, try(strings.Replace(url, "/postgres", "/nonesuch", 2), pg.Bin), "nonesuch")
	wantSentence(t, try("postgres://supabase_admin@127.0.0.1:1/postgres", pg.Bin), "127.0.0.1:1 cannot be reached")
	wantSentence(t, try("postgres://%zz", pg.Bin), "not a URL")
	wantSentence(t, try(url, t.TempDir()), "PostgreSQL 15", "apt-get install postgresql-client-15", "database.tools")
	other, err := testenv.PostgresBin(17)
	if err != nil {
		t.Fatal(err)
	}
	wantSentence(t, try(url, other), "PostgreSQL 15", "17.", "postgresql-client-15")

	if err := pg.Exec(t.Context(), "postgres", "CREATE TABLE locked (id int)"); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	wantSentence(t, try(url, pg.Bin), "waited too long for a lock", "backup.lock_timeout")
}

func TestServerGoneHalfWay(t *testing.T) {
	pg := testenv.NewPostgres(t, 17)
	if err := pg.Exec(t.Context(), "postgres", "CREATE TABLE big AS SELECT repeat(md5(n::text), 100) AS v FROM generate_series(1, 300000) n"); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(250*time.Millisecond, func() { pg.Signal(syscall.SIGQUIT) })
	_, _, err := dump(t, project.Project{Parts: database(time.Second), Server: server(pg.URL("postgres"), pg.Bin)})
	wantSentence(t, err)
	if s := project.Sentence(err); !strings.Contains(s, "went away") && !strings.Contains(s, "connection broke") && !strings.Contains(s, "cannot be reached") {
		t.Errorf("%q does not say that the server is gone (%v)", s, err)
	}
}

func TestALimitedRoleGetsAWarning(t *testing.T) {
	pg := testenv.NewPostgres(t, 15)
	if err := pg.Exec(t.Context(), "postgres", "CREATE ROLE reader LOGIN PASSWORD 'r'; CREATE TABLE a (id int); GRANT SELECT ON a TO reader"); err != nil {
		t.Fatal(err)
	}
	url := strings.Replace(pg.URL("postgres"), testenv.Superuser+":"+testenv.Password, "reader:r", 1)
	b, ws, err := dump(t, project.Project{Parts: database(0), Server: server(url, pg.Bin)})
	if err != nil || len(ws) != 1 || ws[0].Code != "role_passwords_missing" {
		t.Fatalf("%+v, %v", ws, err)
	}
	if got := sh(t, unpack(t, b), "cat database/globals.sql"); !strings.Contains(got, "CREATE ROLE reader") {
		t.Errorf("globals: %s", got)
	}
}

func write(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, n)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, n), []byte(n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConfigTakesWhatItsPatternsSay(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, ".env", "docker-compose.yml", "docker-compose.s3.yml", "volumes/api/kong.yml", "volumes/api/envoy/a.yaml", "volumes/db/data/PG_VERSION", "other")
	for _, c := range []struct {
		include, exclude []string
		want             string
		warnings         int
	}{
		{[]string{".env", "docker-compose*.yml", "volumes/api/**"}, nil, ".env docker-compose.s3.yml docker-compose.yml volumes/api volumes/api/envoy volumes/api/envoy/a.yaml volumes/api/kong.yml", 0},
		{[]string{"volumes/api"}, []string{"**/envoy"}, "volumes/api volumes/api/kong.yml", 0},
		{[]string{"**"}, []string{"volumes"}, ".env docker-compose.s3.yml docker-compose.yml other", 0},
		{[]string{"**/*.yaml", ".env.missing"}, nil, "volumes/api/envoy/a.yaml", 1},
	} {
		b, ws, err := dump(t, project.Project{Parts: []project.Part{&project.ConfigPart{Root: dir, Include: c.include, Exclude: c.exclude}}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for name := range entries(t, b) {
			if name != "config" {
				got = append(got, strings.TrimPrefix(name, "config/"))
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != c.want || len(ws) != c.warnings {
			t.Errorf("include %v exclude %v:\n%v, %d warnings\nwant\n%s, %d", c.include, c.exclude, got, len(ws), c.want, c.warnings)
		}
	}
	for pattern, good := range map[string]bool{"a/**": true, "[": false, "": false, "/etc": false, "../x": false} {
		if err := project.CheckPattern(pattern); (err == nil) != good {
			t.Errorf("pattern %q: %v", pattern, err)
		}
	}
}

func TestOddFilesAreWarnedOf(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "hello/index.ts")
	for link, to := range map[string]string{"out": "/etc", "up": "../..", "in": "hello"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, ws, err := dump(t, project.Project{Parts: []project.Part{&project.FunctionsPart{Path: dir}}})
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, w := range ws {
		count[w.Code] = w.Count
	}
	if count["link_skipped"] != 2 || count["file_skipped"] != 1 || len(ws) != 2 {
		t.Errorf("warnings %+v", ws)
	}
	if e := entries(t, b); e["functions/in"].Target != "hello" || len(e) != 4 {
		t.Errorf("entries %v", e)
	}
}

// TestUnreadableFilesFailTheBackup reads as another user, since root may read
// everything.
func TestUnreadableFilesFailTheBackup(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "secret")
	if err := os.Chmod(filepath.Join(dir, "secret"), 0); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Seteuid(65534); err != nil { // of all threads
			t.Fatal(err)
		}
		defer func() { _ = syscall.Seteuid(0) }()
	}
	_, _, err := dump(t, project.Project{Parts: []project.Part{&project.FunctionsPart{Path: dir}}})
	wantSentence(t, err, "functions", "may not read")
}

func TestMissingFoldersFailTheBackup(t *testing.T) {
	for _, p := range []project.Part{&project.FunctionsPart{Path: "/nonexistent"}, &project.StoragePart{Path: "/nonexistent"}, &project.ConfigPart{Root: "/nonexistent"}} {
		_, _, err := dump(t, project.Project{Parts: []project.Part{p}})
		wantSentence(t, err, p.Name(), "is not there")
	}
}

func TestStorageFollowsTheSnapshot(t *testing.T) {
	src := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: 15, Objects: 20})
	root := filepath.Join(src.StorageRoot(), "stub/stub")
	write(t, root, "avatars/orphan/version", "avatars/flat-$v-v2", "avatars/plain")
	for _, sql := range []string{
		`INSERT INTO storage.objects (bucket_id, name, version) VALUES ('avatars', 'flat', 'v2'), ('avatars', 'plain', NULL), ('avatars', 'gone', 'v1'), ('avatars', '../../../../etc', 'passwd')`,
	} {
		if err := src.DB.Exec(t.Context(), "postgres", sql); err != nil {
			t.Fatal(err)
		}
	}
	p := project.Project{Parts: []project.Part{&project.StoragePart{Path: src.StorageRoot()}}, Server: server(src.DB.URL("postgres"), src.DB.Bin)}
	b, ws, err := dump(t, p)
	if err != nil {
		t.Fatal(err)
	}
	e := entries(t, b)
	for name, there := range map[string]bool{"flat-$v-v2": true, "plain": true, "orphan/version": false} {
		if _, ok := e["storage/stub/stub/avatars/"+name]; ok != there {
			t.Errorf("%s: in the archive %v, want %v", name, ok, there)
		}
	}
	if len(ws) != 1 || ws[0].Code != "file_vanished" || ws[0].Count != 2 {
		t.Errorf("warnings %+v", ws)
	}

	p.Parts = []project.Part{&project.StoragePart{Path: src.StorageRoot(), Tenant: "other/tenant"}}
	_, _, err = dump(t, p)
	wantSentence(t, err, "24 storage objects", "not one", "other/tenant")
}

// TestWhatIsMountedFromElsewhereIsWarnedOf since no part holds it.
func TestWhatIsMountedFromElsewhereIsWarnedOf(t *testing.T) {
	root := t.TempDir()
	write(t, root, "main/index.ts", "stub/stub/x")
	for _, part := range []project.Part{&project.FunctionsPart{Path: root, Apart: []string{"The service functions mounts /srv/a at /b."}}, &project.StoragePart{Path: root, Apart: []string{"The service storage mounts /srv/a at /b."}}} {
		b, ws, err := dump(t, project.Project{Parts: []project.Part{part}})
		if err != nil || len(ws) != 1 || ws[0].Code != "mounts_apart" || !strings.Contains(ws[0].Sentence, part.Name()+": 1 folders or files that its service mounts from other places are not in this backup") {
			t.Errorf("%s: %+v, %v", part.Name(), ws, err)
		}
		r, err := archive.NewReader(bytes.NewReader(b))
		for err == nil {
			_, err = r.Next()
		}
		said := ""
		for _, w := range project.RestoredWarnings(r.Warnings(), []string{part.Name()}) {
			said += w.Sentence
		}
		if want := "1 folders or files that the service of the part " + part.Name() + " mounts from other places are not in the backup, and stay."; said != want {
			t.Errorf("got %q, want %q", said, want)
		}
	}
}
