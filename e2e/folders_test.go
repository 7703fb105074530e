package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/testenv"
)

// text returns the one value of a query.
func text(t *testing.T, pg *testenv.Postgres, database, query string) (s string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pg.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), query).Scan(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, dir, name, content string) {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// check runs `holdfastd config check` on a configuration for one or more projects.
func check(t *testing.T, project string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, "holdfast.yaml", strings.ReplaceAll(config(dir+"/data", dir+"/backups", project, ""), "PORT", "8080"))
	out, _ := exec.CommandContext(t.Context(), binary, append([]string{"config", "check", "--config", dir + "/holdfast.yaml"}, args...)...).CombinedOutput() // what it says is looked at
	return string(out)
}

func contains(t *testing.T, got string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(got, w) {
			t.Errorf("%q is not in %s", w, got)
		}
	}
}

// TestARestoreNeverChangesWhereAProjectLeads restores production into staging twice:
// both have the same password, and their ports in an override.
func TestARestoreNeverChangesWhereAProjectLeads(t *testing.T) {
	prod, project := supabaseProject(t, testenv.SupabaseConfig{Major: 15, Objects: 5})
	staging := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: 15, Objects: 5})
	for _, s := range []*testenv.Supabase{prod, staging} {
		base := strings.ReplaceAll(sh(t, s.Dir, "cat docker-compose.yml"), fmt.Sprintf("127.0.0.1:%d:5432", s.DB.Port), "127.0.0.1:1:5432")
		put(t, s.Dir, "docker-compose.yml", base)
		put(t, s.Dir, "docker-compose.override.yml", fmt.Sprintf("services: {db: {ports: !override [\"127.0.0.1:%d:5432\"]}}\n", s.DB.Port))
	}
	dir := t.TempDir()
	d := start(t, config(dir+"/data", dir+"/backups", project+fmt.Sprintf("\n  - {id: staging, supabase: %s, database: {tools: %s}}", staging.Dir, staging.DB.Bin), ""))
	d.ready()
	a := d.call("POST", "/backups", full)
	d.want(a, 201)
	if err := prod.DB.Exec(t.Context(), "postgres", "CREATE TABLE public.since_then (id int)"); err != nil {
		t.Fatal(err)
	}
	before, override := facts(t, prod), sh(t, staging.Dir, "cat docker-compose.override.yml")
	for range 2 {
		r := d.call("POST", "/backups/"+a.backup()["id"].(string)+"/restore", `{"targetProjectId":"staging","forceRestore":true,"safetyBackup":false}`)
		d.want(r, 200, "The file docker-compose.override.yml was not restored", "The file docker-compose.yml was not restored", "The file .env was not restored")
		if got := sh(t, staging.Dir, "cat docker-compose.override.yml"); got != override {
			t.Errorf("the override is %s", got)
		}
		same(t, "production after a restore into staging", before, facts(t, prod))
	}
}

// TestTwoProjectsOfOneDatabase are an error of `config check`, and no restore of one
// of them is made.
func TestTwoProjectsOfOneDatabase(t *testing.T) {
	pg := testenv.NewPostgres(t, 15)
	if err := pg.Exec(t.Context(), "postgres", "CREATE TABLE t AS SELECT 1 AS n"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	projects := fmt.Sprintf("{id: p, database: {url: %q, tools: %s}}\n  - {id: twin, database: {url: %q, tools: %s}}",
		pg.URL("postgres"), pg.Bin, strings.ReplaceAll(pg.URL("postgres"), "127.0.0.1", "localhost"), pg.Bin)
	contains(t, check(t, projects), "project twin: The project p leads to the same database postgres")
	contains(t, check(t, projects, "--connect"), "project twin: The project p leads to the same database postgres", "system identifier "+text(t, pg, "postgres", "SELECT system_identifier::text FROM pg_control_system()"), ", PostgreSQL 15.")
	d := start(t, config(dir+"/data", dir+"/backups", projects, ""))
	d.ready()
	d.want(d.call("GET", "/projects/twin", ""), 200, `"status":"broken"`, "The project p leads to the same database postgres of the same server")
	d.want(d.call("POST", "/backups", `{"projectId":"twin"}`), 500, "The project p leads to the same database")
	a := d.call("POST", "/backups", full)
	d.want(a, 201)
	if err := pg.Exec(t.Context(), "postgres", "INSERT INTO t VALUES (2)"); err != nil {
		t.Fatal(err)
	}
	restore := "/backups/" + a.backup()["id"].(string) + "/restore"
	if plan := d.call("POST", restore, `{"dryRun":true,"forceRestore":true}`).restore(t).Plan; plan == nil || plan.WouldSucceed {
		t.Errorf("the dry run says %+v", plan)
	}
	d.want(d.call("POST", restore, `{"forceRestore":true}`), 409, "The project twin leads to the same database postgres of the same server")
	if got := text(t, pg, "postgres", "SELECT count(*)::text FROM t"); got != "2" {
		t.Errorf("%s rows", got)
	}
}

// TestTwoProjectsThatShareAFolder are an error of `config check` and shown as broken; no
// restore of one is made that would change files of the other.
func TestTwoProjectsThatShareAFolder(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	put(t, root, "prod/.env", "A=prod")
	put(t, root, "prod/staging/.env", "A=staging")
	put(t, root, "functions/main/index.ts", "x")
	projects := fmt.Sprintf("{id: p, functions: {path: %s/functions}, config: {root: %s/prod, include: [\"**\"]}}\n  - {id: staging, functions: {path: %s/prod/../functions/}, config: {root: %s/prod/staging, include: [\"**\"]}}", root, root, root, root)
	const same, nested = "have the same folder, ", "The folder of the part config of the project staging, "
	contains(t, check(t, projects), "project p: The part functions of the project p and the part functions of the project staging "+same, "project staging: The part functions of the project staging and ", "project p: "+nested, "config.exclude of p")
	d := start(t, config(dir+"/data", dir+"/backups", projects, ""))
	d.ready()
	d.want(d.call("GET", "/projects/p", ""), 200, `"status":"broken"`, same, nested)
	d.want(d.call("GET", "/projects/staging", ""), 200, `"status":"broken"`, same)
	for id, c := range map[string]struct {
		parts string
		want  int
	}{"p": {`["config"]`, 409}, "staging": {`["config"]`, 200}} {
		put(t, root, "prod/staging/.env", "A=staging")
		a := d.call("POST", "/backups", `{"projectId":"`+id+`"}`)
		d.want(a, 201)
		put(t, root, "prod/staging/.env", "A=changed")
		restore := "/backups/" + a.backup()["id"].(string) + "/restore"
		d.want(d.call("POST", restore, `{"safetyBackup":false,"restoreTypes":["functions"]}`), 409, same)
		d.want(d.call("POST", restore, `{"safetyBackup":false,"restoreTypes":`+c.parts+`}`), c.want)
		if got := sh(t, root, "cat prod/staging/.env"); (got == "A=changed") != (c.want == 409) {
			t.Errorf("%s: the file of staging is %q", id, got)
		}
	}
}

// TestARunningDatabaseBelowTheFolder is neither in the configuration nor touched by a
// restore of it.
func TestARunningDatabaseBelowTheFolder(t *testing.T) {
	pg := testenv.NewPostgres(t, 15)
	data := pg.DataDir()
	root := filepath.Dir(data)
	put(t, root, ".env", "POSTGRES_PASSWORD="+testenv.Password+"\n")
	put(t, root, "docker-compose.yml", fmt.Sprintf("services:\n  db:\n    image: \"supabase/postgres:15.8.1.085\"\n    ports: [\"127.0.0.1:%d:5432\"]\n    volumes: [\"./%s:/var/lib/postgresql/data\"]\n", pg.Port, filepath.Base(data)))
	if err := pg.Exec(t.Context(), "postgres", "CREATE DATABASE other"); err != nil {
		t.Fatal(err)
	}
	if err := pg.Exec(t.Context(), "other", "CREATE TABLE keep AS SELECT n, md5(n::text) FROM generate_series(1,1000) n; CREATE INDEX ON keep(n)"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	d := start(t, config(dir+"/data", dir+"/backups", fmt.Sprintf("{id: p, supabase: %s, database: {tools: %s}}", root, pg.Bin), ""))
	d.ready()
	a := d.call("POST", "/backups", full)
	d.want(a, 201)
	if got := sh(t, root, fmt.Sprintf("tar tzf %s | grep -c %s/ || true", a.backup()["path"], filepath.Base(data))); got != "0\n" {
		t.Errorf("%s files of the database are configuration", got)
	}
	d.want(d.call("GET", "/backups/"+a.backup()["id"].(string), ""), 200, "config: 2 folders or files hold the data of a service", filepath.Base(data), "log") // which the server writes beside it
	if err := pg.Exec(t.Context(), "other", "INSERT INTO keep SELECT n, 'x' FROM generate_series(1001,60000) n; CHECKPOINT"); err != nil {
		t.Fatal(err)
	}
	d.want(d.call("POST", "/backups/"+a.backup()["id"].(string)+"/restore", `{"safetyBackup":false}`), 200)
	pg.Signal(syscall.SIGINT)
	if err := pg.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := text(t, pg, "other", "SELECT count(*)::text FROM keep"); got != "60000" {
		t.Errorf("%s rows after the next start of the server", got)
	}
}

// TestFilesThatCannotBeFound fail the backup, until the configuration says that
// nobody wants them; what is found later is backed up without a restart.
func TestFilesThatCannotBeFound(t *testing.T) {
	src, _ := supabaseProject(t, testenv.SupabaseConfig{Major: 15, Objects: 5})
	compose := sh(t, src.Dir, "cat docker-compose.yml")
	put(t, src.Dir, "docker-compose.yml", strings.NewReplacer("./volumes/storage:/var/lib/storage:z", "./late:/var/lib/storage").Replace(compose))
	dir, other := t.TempDir(), t.TempDir()
	project := fmt.Sprintf("{id: p, supabase: %s, database: {tools: %s}}", src.Dir, src.DB.Bin)
	nobodyWants := fmt.Sprintf("{id: p, supabase: %s, storage: none, database: {tools: %s}}", src.Dir, src.DB.Bin)
	contains(t, check(t, project), "project p: The part storage cannot be found", "the service storage keeps its files in the folder "+src.Dir+"/late", "set storage.path, or set storage: none",
		"functions  "+src.Dir+"/volumes/functions: ", "storage    cannot be found")
	old := t.TempDir() // the client tools of another version
	put(t, old, "pg_dump", "#!/bin/sh\necho 'pg_dump (PostgreSQL) 14.1'\n")
	sh(t, old, "chmod +x pg_dump; cp pg_dump pg_dumpall; cp pg_dump pg_restore")
	contains(t, check(t, strings.ReplaceAll(nobodyWants, src.DB.Bin, old), "--connect"), "The server is PostgreSQL 15, but there is no pg_dump of that version", "set database.tools")
	contains(t, check(t, nobodyWants, "--connect"), "storage    not backed up. The configuration says none.", "note       storage: the files of 5 storage objects are not in this backup")
	without := start(t, config(other+"/data", other+"/backups", nobodyWants, ""))
	without.ready()
	a := without.call("POST", "/backups", full)
	without.want(a, 201)
	without.want(without.call("GET", "/backups/"+a.backup()["id"].(string), ""), 200, "the files of 5 storage objects are not in this backup, because the configuration says storage: none")
	d := start(t, config(dir+"/data", dir+"/backups", project, ""))
	d.ready()
	d.want(d.call("POST", "/backups", full), 500, "Backup failed: The part storage cannot be found", "storage: none")
	d.want(d.call("GET", "/projects/p", ""), 200, `"status":"broken"`, "The part storage cannot be found")
	d.want(d.call("POST", "/backups", `{"projectId":"p","type":"database"}`), 201)
	sh(t, src.Dir, "mv volumes/storage late")
	found := d.call("POST", "/backups", full)
	d.want(found, 201)
	d.want(d.call("GET", "/backups/"+found.backup()["id"].(string), ""), 200, `"name":"storage"`)
	contains(t, check(t, project), "storage    "+src.Dir+"/late/stub/stub: 5 files", "backend file, tenant stub/stub", "The configuration is good.")
	d.want(d.call("GET", "/projects/p", ""), 200, `"status":"ok"`)
}

// TestConfigCheckSaysWhatWasFound of each project, and what has led to it.
func TestConfigCheckSaysWhatWasFound(t *testing.T) {
	src, _ := supabaseProject(t, testenv.SupabaseConfig{Major: 15, Objects: 5})
	own := t.TempDir()
	put(t, own, "fn/main/index.ts", "x")
	sh(t, own, "truncate -s 3M fn/main/cache.img")
	tools, file := src.DB.Bin, src.Dir+"/docker-compose.yml:"
	got := check(t, fmt.Sprintf("{id: p, supabase: %s, database: {tools: %s}}", src.Dir, tools), "--connect")
	contains(t, got, "Project p\n", fmt.Sprintf("server     127.0.0.1:%d, database postgres, PostgreSQL 15.", src.DB.Port),
		", system identifier "+text(t, src.DB, "postgres", "SELECT system_identifier::text FROM pg_control_system()")+" (from "+file, ", service db)",
		"storage    "+src.Dir+"/volumes/storage/stub/stub: 5 files, ", "; backend file, tenant stub/stub (from "+file, ", service storage)",
		"functions  "+src.Dir+"/volumes/functions: ", ", service functions)", "config     "+src.Dir+": ", "(from the folder of `supabase:`)")
	corrected := check(t, fmt.Sprintf("{id: p, supabase: %s, database: {tools: %s}, storage: {path: %s, tenant: a/b}, functions: {path: %s/fn}, config: {root: %s, include: ['*.ts']}}", src.Dir, tools, own, own, own))
	contains(t, corrected, fmt.Sprintf("server     127.0.0.1:%d, database postgres (from ", src.DB.Port), "storage    "+own+"/a/b: 0 files, 0 B; backend file, tenant a/b (from storage.path)",
		"functions  "+own+"/fn: 2 files, 3.0 MiB (4.0 KiB on the disk) (from functions.path)", "config     "+own+": 0 files, 0 B (from config.root)")
	put(t, src.Dir, "docker-compose.override.yml", "services: {storage: {environment: {STORAGE_BACKEND: s3}}}\n")
	contains(t, check(t, fmt.Sprintf("{id: p, supabase: %s, functions: none}", src.Dir)), "storage    cannot be found", `keeps its files on "s3"`, "docker-compose.override.yml:1", "functions  not backed up. The configuration says none.")
}

// TestObjectsWithoutAService fail the backup and the check: nothing says where their
// files are.
func TestObjectsWithoutAService(t *testing.T) {
	src, project := supabaseProject(t, testenv.SupabaseConfig{Major: 15, Objects: 5})
	put(t, src.Dir, "docker-compose.yml", fmt.Sprintf("services: {db: {image: \"supabase/postgres:15\", ports: [\"127.0.0.1:%d:5432\"]}}\n", src.DB.Port))
	sh(t, src.Dir, "mv volumes/storage ../elsewhere")
	const said = "The database lists 5 storage objects, but their files cannot be found: No service of "
	contains(t, check(t, project, "--connect"), "project p: "+said, "set storage.path, or storage: none")
	dir := t.TempDir()
	d := start(t, config(dir+"/data", dir+"/backups", project, ""))
	d.ready()
	d.want(d.call("POST", "/backups", full), 500, "Backup failed: "+said)
	database := d.call("POST", "/backups", `{"projectId":"p","type":"database"}`)
	d.want(database, 201)
	d.want(d.call("GET", "/backups/"+database.backup()["id"].(string), ""), 200, "the files of 5 storage objects are not in this backup")
}

// TestAFaultyFolderStopsNobodyElse shows it as broken, with the reason.
func TestAFaultyFolderStopsNobodyElse(t *testing.T) {
	pg := testenv.NewPostgres(t, 15)
	dir, faulty := t.TempDir(), t.TempDir()
	put(t, faulty, "docker-compose.yml", "services:\n  db:\n    portz: [s3kret]\n")
	projects := fmt.Sprintf("{id: p, database: {url: %q, tools: %s}}\n  - {id: faulty, supabase: %s}\n  - {id: gone, supabase: %s/gone}", pg.URL("postgres"), pg.Bin, faulty, faulty)
	contains(t, check(t, projects), "project faulty: The folder of the project cannot be read as compose reads it: "+faulty+"/docker-compose.yml:3", "project gone: ")
	d := start(t, config(dir+"/data", dir+"/backups", projects, ""))
	d.ready()
	d.want(d.call("POST", "/backups", full), 201)
	d.want(d.call("GET", "/projects", ""), 200, `"id":"faulty"`, `"status":"broken"`, faulty+"/docker-compose.yml:3", "portz is no key that compose knows")
	d.want(d.call("POST", "/backups", `{"projectId":"faulty"}`), 500, "Backup failed: ", "docker-compose.yml:3")
	if a := d.call("POST", "/backups", `{"projectId":"gone"}`); a.status != 500 || strings.Contains(a.body, "s3kret") {
		t.Errorf("%d %s", a.status, a.body)
	}
	ready := sh(t, dir, fmt.Sprintf("curl -s -w '%%{http_code}' http://127.0.0.1:%d/readyz", d.port))
	contains(t, ready, `"ready":true`, "project faulty: ", "project gone: ", "200")
}

// TestTheFolderOfAPartMustBeThere also when the configuration names it.
func TestTheFolderOfAPartMustBeThere(t *testing.T) {
	got := check(t, "{id: p, functions: {path: /nonexistent/functions}, storage: {path: "+t.TempDir()+"}}")
	contains(t, got, "project p: The folder of the part functions cannot be read", "/nonexistent/functions", "check functions.path", "storage    ", "0 files")
}

// TestTheConfigurationOfAnotherServerIsNotKept although it is the project's own: it
// has moved to another server since the backup.
func TestTheConfigurationOfAnotherServerIsNotKept(t *testing.T) {
	before, now := testenv.NewPostgres(t, 15), testenv.NewPostgres(t, 15)
	root, dir := t.TempDir(), t.TempDir()
	compose := "services: {db: {image: \"supabase/postgres:15\", ports: [\"127.0.0.1:%d:5432\"]}}\n"
	put(t, root, ".env", "POSTGRES_PASSWORD="+testenv.Password+"\n")
	put(t, root, "docker-compose.yml", fmt.Sprintf(compose, before.Port))
	d := start(t, config(dir+"/data", dir+"/backups", fmt.Sprintf("{id: p, supabase: %s, database: {tools: %s}}", root, before.Bin), ""))
	d.ready()
	a := d.call("POST", "/backups", full)
	d.want(a, 201)
	put(t, root, "docker-compose.yml", fmt.Sprintf(compose, now.Port))
	if err := now.Exec(t.Context(), "postgres", "CREATE TABLE new AS SELECT 1 AS n"); err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{`{"safetyBackup":false}`, `{"restoreTypes":["config"],"safetyBackup":false}`} {
		d.want(d.call("POST", "/backups/"+a.backup()["id"].(string)+"/restore", body), 500, "The configuration of the backup leads to another database server", "The project is unchanged")
		if got := sh(t, root, "cat docker-compose.yml"); got != fmt.Sprintf(compose, now.Port) {
			t.Errorf("the compose file is %s", got)
		}
		if got := text(t, now, "postgres", "SELECT count(*)::text FROM new"); got != "1" {
			t.Errorf("%s rows", got)
		}
	}
	d.want(d.call("POST", "/backups/"+a.backup()["id"].(string)+"/restore", `{"restoreTypes":["database"],"safetyBackup":false}`), 200)
	before.Signal(syscall.SIGQUIT)
	d.want(d.call("POST", "/backups/"+a.backup()["id"].(string)+"/restore", `{"restoreTypes":["config"],"safetyBackup":false}`), 200, "With the restored configuration the database cannot be reached as before")
}

// TestALostFolderComesBack where the services mount it, after a backup of what is left.
func TestALostFolderComesBack(t *testing.T) {
	src, project := supabaseProject(t, testenv.SupabaseConfig{Major: 15, Objects: 5})
	dir := t.TempDir()
	d := start(t, config(dir+"/data", dir+"/backups", project, ""))
	d.ready()
	a := d.call("POST", "/backups", full)
	d.want(a, 201)
	before := facts(t, src)
	sh(t, src.Dir, "rm -r volumes/functions volumes/storage")
	d.want(d.call("POST", "/backups", full), 500, "The part storage cannot be found")
	r := d.call("POST", "/backups/"+a.backup()["id"].(string)+"/restore", `{}`)
	d.want(r, 200)
	same(t, "after the restore", before, facts(t, src))
	_, newest, _ := strings.Cut(d.call("GET", "/backups?limit=1", "").body, `"id":"`)
	newest, _, _ = strings.Cut(newest, `"`)
	d.want(d.call("GET", "/backups/"+newest, ""), 200, `"origin":"safety"`, "storage: 5 files vanished before they were read")
}

// TestNamesOfAnyBytesSurviveARestoreAndItsUndo through the daemon, which is killed
// between the two.
func TestNamesOfAnyBytesSurviveARestoreAndItsUndo(t *testing.T) {
	dir, root := t.TempDir(), t.TempDir()
	sh(t, root, `mkdir -p fn/main cf; echo x > fn/main/index.ts; mkdir "fn/$(printf 'caf\351')"; echo 'my function' > "fn/$(printf 'caf\351')/index.ts"; echo A=1 > cf/.env; echo 'my config' > "cf/$(printf 'caf\351').conf"`)
	text := config(dir+"/data", dir+"/backups", fmt.Sprintf(`{id: p, functions: {path: %s/fn}, config: {root: %s/cf, include: ["**"]}}`, root, root), "")
	d := start(t, text)
	d.ready()
	a := d.call("POST", "/backups", full)
	d.want(a, 201)
	state := func() string {
		return sh(t, root, `find . -name '.holdfast-*' -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum`)
	}
	backedUp := state()
	sh(t, root, `for f in */caf*/index.ts cf/caf*; do echo changed > "$f"; done; echo B=2 > cf/.env`)
	changed := state()
	b := d.call("POST", "/backups/"+a.backup()["id"].(string)+"/restore", `{"safetyBackup":false}`)
	d.want(b, 200)
	if got := state(); got != backedUp {
		t.Errorf("after the restore:\n%s\nwant\n%s", got, backedUp)
	}
	d.kill(syscall.SIGKILL)
	d.run()
	d.ready()
	d.want(d.call("POST", "/restores/"+b.restore(t).ID+"/undo", ""), 200)
	if got := state(); got != changed {
		t.Errorf("after the undo:\n%s\nwant\n%s", got, changed)
	}
}
