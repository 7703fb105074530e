package e2e

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/testenv"
)

// config returns a configuration for one project.
func config(data, backups, project, more string) string {
	return fmt.Sprintf(`
data_dir: %s
http: {listen: "127.0.0.1:PORT"}
min_free: 1MiB
backup: {ack_wait: 2s, lock_timeout: 1s}
projects:
  - %s
destinations:
  local: {path: %s}
keys:
  - {name: e2e, hash: "sha256:%x", permissions: {backups: write}}
%s`, data, project, backups, sha256.Sum256([]byte(apiKey)), more)
}

const full = `{"projectId":"p"}`

func supabaseProject(t *testing.T, c testenv.SupabaseConfig) (*testenv.Supabase, string) {
	t.Helper()
	s := testenv.NewSupabase(t, c)
	return s, fmt.Sprintf(`{id: p, name: My Project, supabase: %s, database: {tools: %s}}`, s.Dir, s.DB.Bin)
}

// bigDatabase is a project whose dump takes a second or two.
func bigDatabase(t *testing.T) (*testenv.Postgres, string) {
	t.Helper()
	pg := testenv.NewPostgres(t, 15)
	if err := pg.Exec(t.Context(), "postgres", "CREATE TABLE big AS SELECT n, repeat(md5(n::text), 30) AS v FROM generate_series(1, 400000) n"); err != nil {
		t.Fatal(err)
	}
	return pg, fmt.Sprintf(`{id: p, database: {url: "%s", tools: %s}}`, pg.URL("postgres"), pg.Bin)
}

func TestFromRESTToREST(t *testing.T) {
	src, project := supabaseProject(t, testenv.SupabaseConfig{Major: 15, Objects: 5000})
	dir := t.TempDir()
	d := start(t, config(dir+"/data", dir+"/backups", project, ""))
	d.ready()

	a := d.call("POST", "/backups", full, "Idempotency-Key", "one")
	d.want(a, 201, `{"success":true,"backup":{"id":"backup-`, `"projectId":"p","type":"full","status":"completed","destination":"local","path":"`+dir)
	id, size := a.backup()["id"].(string), int64(a.backup()["size"].(float64))
	d.want(d.call("POST", "/backups", `{ "projectId" : "p" }`, "Idempotency-Key", "one"), 201, id)
	d.want(d.call("POST", "/backups", `{"projectId":"p","type":"config"}`, "Idempotency-Key", "one"), 422, "idempotency_mismatch")
	second := d.call("POST", "/backups", full)
	d.want(second, 201)
	if second.backup()["path"] == a.backup()["path"] {
		t.Error("two backups share an object")
	}
	d.want(d.call("GET", "/backups/"+id, ""), 200, `"projectName":"My Project"`, `"restoreHistory":[]`, `"checksum":"sha256:`, "vault_key_missing")
	d.want(d.call("GET", "/backups?stats=true&limit=1", ""), 200, `"pagination":{"total":2,"limit":1,"offset":0`, `"totalBackups":2`, `"byDestination":{"local":{"count":2`)
	d.want(d.call("GET", "/backups?projectId=nonesuch", ""), 200, `{"backups":[],"pagination":{"total":0,"limit":50,"offset":0}}`)
	download(t, d, src, id, size)
	d.want(d.call("DELETE", "/backups/"+id, ""), 200, `{"success":true,"message":"Backup deleted"}`)
	d.want(d.call("GET", "/backups/"+id, ""), 404, `{"success":false,"error":"Backup not found"`)
	d.want(d.call("DELETE", "/backups/"+id, ""), 404)
	d.want(d.call("GET", "/backups?stats=true", ""), 200, `"total":1`, `"totalBackups":1`)
	if got := objects(t, dir+"/backups"); len(got) != 2 {
		t.Errorf("objects after deletion: %v", got)
	}
}

// download fetches the archive in two pieces and opens it by hand.
func download(t *testing.T, d *daemon, src *testenv.Supabase, id string, size int64) {
	t.Helper()
	dir := t.TempDir()
	curl := fmt.Sprintf("curl -sS -H 'X-API-Key: %s' 'http://127.0.0.1:%d/api/v1/backups/%s/download' ", apiKey, d.port, id)
	out := sh(t, dir, curl+"-r 0-99999 -o a.tar.gz\ntest $(stat -c %s a.tar.gz) = 100000\n"+curl+"-C - -o a.tar.gz\n"+curl+"-I\n"+
		"tar --xattrs --xattrs-include='user.*' -xzpf a.tar.gz")
	for _, w := range []string{"application/gzip", "Accept-Ranges: bytes", fmt.Sprintf("Content-Length: %d", size), `filename="p-` + time.Now().UTC().Format(time.DateOnly) + `-full.tar.gz"`} {
		if !strings.Contains(out, w) {
			t.Errorf("%q is not in %s", w, out)
		}
	}
	const list = `find . -mindepth 1 -printf '%P %y %m %l\n' | LC_ALL=C sort; find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum; find . -type f -print0 | LC_ALL=C sort -z | xargs -0 getfattr -d 2>/dev/null`
	if sh(t, src.StorageRoot(), list) != sh(t, filepath.Join(dir, "storage"), list) {
		t.Error("the storage files differ from their source")
	}
	sh(t, dir, "find database/postgres.dump -type f | sort | xargs cat | "+src.DB.Bin+"/pg_restore -f /dev/null")
	d.want(d.call("GET", "/backups/"+id+"/download", "", "Range", fmt.Sprintf("bytes=%d-", size)), 416, "range_not_satisfiable")
}

func TestBadRequests(t *testing.T) {
	_, project := supabaseProject(t, testenv.SupabaseConfig{Major: 17, Objects: 5})
	dir := t.TempDir()
	d := start(t, config(dir+"/data", dir+"/backups", project, ""))
	d.ready()
	for _, c := range []struct {
		method, path, body string
		status             int
		word               string
	}{
		{"POST", "/backups", `{"projectId":"x"}`, 400, `{"success":false,"error":"Project not found"`},
		{"POST", "/backups", `{}`, 400, "projectId is required"},
		{"POST", "/backups", `{"projectId":"p","encypt":true}`, 400, "encypt"},
		{"POST", "/backups", `{"projectId":"p","encrypt":"yes"}`, 400, "encrypt"},
		{"POST", "/backups", `{"projectId":"p","encrypt":true}`, 400, "encryption.recipients"},
		{"POST", "/backups", `{"projectId":"p","type":"half"}`, 400, "full, database, storage, functions, config"},
		{"POST", "/backups", `{"projectId":"p","destination":"s3"}`, 400, "local"},
		{"POST", "/backups", `nonsense`, 400, "JSON"},
		{"GET", "/backups?limit=501", "", 400, "limit must be a number, between 1 and 500"},
		{"GET", "/backups?status=done", "", 400, "pending, in_progress, completed, failed"},
		{"GET", "/backups/backup-123", "", 404, "Backup not found"},
		{"GET", "/restores/x", "", 404, "Restore not found"},
		{"GET", "/nonesuch", "", 404, "not_found"},
		{"PUT", "/backups", "", 405, "method_not_allowed"},
	} {
		d.want(d.call(c.method, c.path, c.body), c.status, c.word, "requestId")
	}
	d.want(d.call("GET", "/backups", "", "X-API-Key", "wrong"), 401, "unauthenticated")
	d.want(d.call("POST", "/backups", full, "Content-Type", "text/plain"), 415, "unsupported_media_type")
	async := d.call("POST", "/backups", full, "Prefer", "respond-async")
	d.want(async, 202, `"success":true`)
	id, _ := async.backup()["id"].(string)
	if async.header.Get("Location") != "/api/v1/backups/"+id || async.header.Get("Preference-Applied") != "respond-async" {
		t.Errorf("headers %v", async.header)
	}
	testenv.Eventually(t, 30*time.Second, func() error {
		if a := d.call("GET", "/backups/"+id, ""); a.backup()["status"] != "completed" {
			return fmt.Errorf("%s", a.body)
		}
		return nil
	})
}

// oneResult checks that a killed backup has ended once.
func oneResult(t *testing.T, d *daemon, dir string) {
	t.Helper()
	d.want(d.call("POST", "/backups", full, "Idempotency-Key", "k"), 201, `"status":"completed"`)
	testenv.Eventually(t, 10*time.Second, func() error { // the sweep of the first attempt follows the result
		if got := objects(t, dir); len(got) != 2 {
			return fmt.Errorf("objects %v, want one archive and what stands beside it", got)
		}
		return nil
	})
	d.want(d.call("GET", "/backups", ""), 200, `"total":1`)
}

// TestKilledInTheMiddle kills the whole daemon with -9 while it works.
func TestKilledInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	_, project := bigDatabase(t)
	d := start(t, config(dir+"/data", dir+"/backups", project, ""))
	d.ready()
	d.want(d.call("POST", "/backups", full, "Idempotency-Key", "k", "Prefer", "respond-async"), 202)
	d.writing(dir + "/backups")
	d.kill(syscall.SIGKILL)
	d.run()
	d.ready()
	oneResult(t, d, dir+"/backups")
}

// TestSeparateProcesses runs each service as a process of its own on a cluster,
// and kills the worker with -9 in the middle.
func TestSeparateProcesses(t *testing.T) {
	url, _ := testenv.NATSCluster(t)
	_, project := bigDatabase(t)
	dir := t.TempDir()
	one := func(service string) *daemon {
		return start(t, config(dir+"/"+service, dir+"/backups", project, fmt.Sprintf("services: [%s]\nnats: {url: %q, replicas: 3}\n", service, url)))
	}
	one("catalog")
	w, g := one("backup"), one("gateway")
	g.ready()
	g.want(g.call("POST", "/backups", full, "Idempotency-Key", "k", "Prefer", "respond-async"), 202)
	g.writing(dir + "/backups")
	w.kill(syscall.SIGKILL)
	w.run()
	oneResult(t, g, dir+"/backups")
}
