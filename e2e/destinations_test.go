package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/minio/minio-go/v7"

	"github.com/holdfast-dev/holdfast/testenv"
)

// clouds starts a server for each destination but the local one and returns their
// configuration.
func clouds(t *testing.T) string {
	t.Helper()
	versity := testenv.Versity(t, testenv.VersityConfig{})
	auto := testenv.Versity(t, testenv.VersityConfig{Region: "auto"})
	west := testenv.Versity(t, testenv.VersityConfig{Region: "us-west-004", Versioning: true})
	minio, gcs, azure := testenv.MinIO(t), testenv.GCS(t), testenv.Azurite(t)
	for _, s := range []*testenv.StoreServer{versity, auto, minio, gcs, azure} {
		s.Bucket(t, "holdfast", false)
	}
	west.Bucket(t, "holdfast", true)
	r2, b2 := testenv.R2(t, auto), testenv.B2(t, west)
	keys := fmt.Sprintf("access_key_id: %s, secret_access_key: %s", testenv.AccessKey, testenv.SecretKey)
	return fmt.Sprintf(`  s3: {endpoint: %q, bucket: holdfast, prefix: some/folder, %s}
  minio: {endpoint: %q, bucket: holdfast, %s}
  r2: {endpoint: %q, ca_file: %q, bucket: holdfast, %s}
  backblaze: {endpoint: %q, ca_file: %q, bucket: holdfast, key_id: %s, application_key: %s}
  gcs: {endpoint: %q, bucket: holdfast}
  azure: {endpoint: %q, container: holdfast, account_name: %s, account_key: %q}
`, versity.URL, keys, minio.URL, keys, r2.URL, r2.CAFile, keys, b2.URL, b2.CAFile, testenv.AccessKey, testenv.SecretKey, gcs.URL, azure.URL, testenv.AzureAccount, testenv.AzureKey)
}

// with adds destinations to a configuration.
func with(config, destinations string) string {
	return strings.Replace(config, "keys:\n", destinations+"keys:\n", 1)
}

// TestSevenDestinations takes a backup through its life at each of them, in one
// daemon that knows them all.
func TestSevenDestinations(t *testing.T) {
	src, project := supabaseProject(t, testenv.SupabaseConfig{Major: 15, Objects: 50})
	dir := t.TempDir()
	d := start(t, with(config(dir+"/data", dir+"/backups", project, ""), clouds(t)))
	d.ready()
	before := facts(t, src)
	check, err := exec.Command(binary, "config", "check", "--connect", "--config", d.config).CombinedOutput()
	if err != nil || !strings.Contains(string(check), "The configuration is good.") {
		t.Errorf("config check --connect: %v: %s", err, check)
	}
	for name, path := range map[string]string{
		"local": dir + "/backups/p/", "s3": "s3://holdfast/some/folder/p/", "minio": "minio://holdfast/p/", "r2": "r2://holdfast/p/", "backblaze": "b2://holdfast/p/",
		"gcs": "gs://holdfast/p/", "azure": "azure://holdfast/p/",
	} {
		t.Run(name, func(t *testing.T) {
			d := &daemon{t: t, config: d.config, host: d.host, port: d.port, client: d.client}
			a := d.call("POST", "/backups", fmt.Sprintf(`{"projectId":"p","destination":%q}`, name))
			d.want(a, 201, `"status":"completed"`, `"path":"`+path)
			b := a.backup()
			id := b["id"].(string)
			list := d.call("GET", "/backups?destination="+name, "")
			d.want(list, 200, `"total":1`, `"path":"`+path, id)

			got := d.call("GET", "/backups/"+id+"/download", "")
			d.want(got, 200)
			if sum := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(got.body))); sum != d.call("GET", "/backups/"+id, "").backup()["checksum"] || float64(len(got.body)) != b["size"] {
				t.Errorf("downloaded %d bytes with %s of %v", len(got.body), sum, b)
			}
			part := d.call("GET", "/backups/"+id+"/download", "", "Range", "bytes=1000-70000")
			d.want(part, 206)
			if part.body != got.body[1000:70001] {
				t.Error("the range holds other bytes")
			}
			d.redirected(id, name, got.body)

			d.want(d.call("POST", "/backups/"+id+"/verify", ""), 200, `"verification":{"status":"ok"`)
			d.want(d.call("GET", "/backups/"+id, ""), 200, `"verification":{"status":"ok"`)

			if err := src.DB.Exec(t.Context(), "postgres", "DROP TABLE public.events CASCADE; DELETE FROM public.orders WHERE id % 3 = 0"); err != nil {
				t.Fatal(err)
			}
			sh(t, src.Dir, "rm -r volumes/storage/stub/stub/documents; echo broken > volumes/functions/hello/index.ts; echo LOST=1 > .env.functions")
			d.want(d.call("POST", "/backups/"+id+"/restore", `{"safetyBackup":false}`), 200, `"success":true`)
			same(t, "restored from "+name, before, facts(t, src))

			d.want(d.call("DELETE", "/backups/"+id, ""), 200, "Backup deleted")
			d.want(d.call("GET", "/backups/"+id, ""), 404)
			d.want(d.call("GET", "/backups?destination="+name, ""), 200, `"total":0`)
		})
	}
	out, err := exec.Command(binary, "sweep", "--config", d.config).CombinedOutput()
	if err != nil || string(out) != "0 found, 0 of them removed\n" {
		t.Errorf("sweep: %v: %s", err, out)
	}
}

// redirected fetches an archive with ?redirect=true: from the destination itself
// where that can sign URLs, and from the gateway otherwise.
func (d *daemon) redirected(id, name, want string) {
	d.t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(d.t.Context(), "GET", fmt.Sprintf("http://127.0.0.1:%d/api/v1/backups/%s/download?redirect=true", d.port, id), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("X-API-Key", apiKey)
	res, err := client.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	if name == "local" || name == "gcs" { // which needs the key of a service account
		if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 || string(b) != want {
			d.t.Errorf("redirect: %d, %d bytes, %v", res.StatusCode, len(b), err)
		}
		return
	}
	if res.StatusCode != 302 {
		d.t.Errorf("redirect: status %d, want 302", res.StatusCode)
		return
	}
	if name == "r2" || name == "backblaze" {
		return // their stand-ins have certificates that this client does not trust
	}
	out, err := http.Get(res.Header.Get("Location"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer out.Body.Close()
	if b, err := io.ReadAll(out.Body); err != nil || out.StatusCode != 200 || string(b) != want {
		d.t.Errorf("signed URL: %d, %d bytes, %v", out.StatusCode, len(b), err)
	}
}

// TestDamageIsSeen: a flipped bit, a missing object and an encrypted archive
// without a key, as verify shows them.
func TestDamageIsSeen(t *testing.T) {
	dir := t.TempDir()
	sh(t, dir, "mkdir src && head -c 300000 /dev/urandom > src/a && age-keygen -o key 2>/dev/null || true")
	d := start(t, config(dir+"/data", dir+"/backups", fmt.Sprintf("{id: p, config: {root: %s/src, include: ['**']}}", dir), ""))
	d.ready()
	var ids []string
	for range 3 {
		a := d.call("POST", "/backups", full)
		d.want(a, 201)
		ids = append(ids, a.backup()["id"].(string))
	}
	path := func(i int) string { return d.call("GET", "/backups/"+ids[i], "").backup()["path"].(string) }
	f, err := os.OpenFile(path(0), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := []byte{0}
	if _, err := f.ReadAt(b, 150_000); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b, 150_000); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path(1)); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"it was stored: its checksum is another", "not at its destination any more", `"status":"ok"`} {
		d.want(d.call("POST", "/backups/"+ids[i]+"/verify", ""), 200, `"success":true`, want)
		d.want(d.call("GET", "/backups/"+ids[i], ""), 200, want)
	}
	if !strings.Contains(d.metrics(), `holdfast_verification_failed{project="p"} 2`) {
		t.Errorf("metrics: %s", d.metrics())
	}
	d.want(d.call("POST", "/backups/"+ids[2]+"/verify", "", "Prefer", "respond-async"), 202, `{"success":true}`)
	d.want(d.call("DELETE", "/backups/"+ids[0], ""), 200)
	if !strings.Contains(d.metrics(), `holdfast_verification_failed{project="p"} 1`) {
		t.Errorf("metrics after the deletion: %s", d.metrics())
	}
	d.want(d.call("POST", "/backups/"+ids[0]+"/verify", ""), 404)
}

// TestAdopt loses the whole data directory.
func TestAdopt(t *testing.T) {
	src, project := supabaseProject(t, testenv.SupabaseConfig{Major: 15, Objects: 20})
	dir := t.TempDir()
	minio := testenv.MinIO(t)
	bucket := minio.Bucket(t, "holdfast", false)
	cfg := with(config(dir+"/data", dir+"/backups", project, ""), fmt.Sprintf("  minio: {endpoint: %q, bucket: %s, access_key_id: %s, secret_access_key: %s}\n", minio.URL, bucket, testenv.AccessKey, testenv.SecretKey))
	d := start(t, cfg)
	d.ready()
	before := facts(t, src)
	type row struct {
		ID, Path, Status, Type, Checksum, CreatedAt, Origin string
		Size                                                float64
	}
	rows := func() (out []row) {
		var list struct{ Backups []row }
		if err := json.Unmarshal([]byte(d.call("GET", "/backups", "").body), &list); err != nil {
			t.Fatal(err)
		}
		return list.Backups
	}
	for _, body := range []string{full, `{"projectId":"p","destination":"minio"}`, `{"projectId":"p","destination":"minio","type":"storage"}`} {
		d.want(d.call("POST", "/backups", body), 201)
	}
	want := rows()
	d.kill(syscall.SIGKILL)
	sh(t, dir, "rm -r data")
	sh(t, dir, "cp backups/p/*.json backups/p/2026-01-01-full-aaaaaaaaaa.tar.gz.json") // describes another
	d.run()
	d.unready("does not know some archives at the destination local")
	if got := rows(); len(got) != 0 {
		t.Fatalf("there are %+v", got)
	}
	for i, test := range []struct{ name, want string }{
		{"local", "1 adopted, 0 known before, 1 left out"},
		{"minio", "2 adopted, 0 known before, 0 left out"},
		{"local", "0 adopted, 1 known before, 1 left out"},
		{"minio", "0 adopted, 2 known before, 0 left out"},
	} {
		if i == 3 { // also while no daemon runs
			d.kill(syscall.SIGTERM)
		}
		out, err := exec.Command(binary, "adopt", "--config", d.config, "--destination", test.name).CombinedOutput()
		if err != nil || !strings.Contains(string(out), test.want) {
			t.Errorf("adopt %s: %v: %s", test.name, err, out)
		}
	}
	d.run()
	d.ready()
	for i := range want {
		want[i].Origin = "adopted"
	}
	testenv.Eventually(t, 10*time.Second, func() error {
		if got := rows(); !slices.Equal(got, want) {
			return fmt.Errorf("got  %+v\nwant %+v", got, want)
		}
		return nil
	})
	id := want[1].ID // the full one at MinIO
	if got := d.call("GET", "/backups/"+id+"/download", ""); fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(got.body))) != want[1].Checksum {
		t.Errorf("downloaded %d other bytes", len(got.body))
	}
	d.want(d.call("POST", "/backups/"+id+"/verify", ""), 200, `"status":"ok"`)
	damage(t, src)
	d.want(d.call("POST", "/backups/"+id+"/restore", `{"safetyBackup":false}`), 200)
	same(t, "restored from an adopted backup", before, facts(t, src))
	d.want(d.call("DELETE", "/backups/"+id, ""), 200)
}

// TestSweep: what the log has not recorded as stored stays, whatever its name and its
// mark say.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	sh(t, dir, "mkdir src other && echo x > src/a")
	two := fmt.Sprintf("{id: p, config: {root: %[1]s/src, include: ['**']}}\n  - {id: my-p, config: {root: %[1]s/src, include: ['**']}}", dir)
	d := start(t, config(dir+"/data", dir+"/backups", two, ""))
	d.ready()
	mine := d.call("POST", "/backups", full)
	d.want(mine, 201)
	theirs := d.call("POST", "/backups", `{"projectId":"my-p"}`)
	d.want(theirs, 201)
	path, other := mine.backup()["path"].(string), theirs.backup()["path"].(string)
	loser, otherLoser := strings.Replace(path, ".tar.gz", "-a2.tar.gz", 1), strings.Replace(other, ".tar.gz", "-a2.tar.gz", 1)
	unknown := dir + "/backups/p/2026-01-01-full-aaaaaaaaaa.tar.gz"
	adoptable := dir + "/backups/p/2026-01-01-full-bbbbbbbbbb.tar.gz"
	foreign := dir + "/backups/p/2026-01-01-full-cccccccccc.tar.gz"
	young := strings.Replace(path, ".tar.gz", "-a3.tar.gz", 1)
	sh(t, dir, fmt.Sprintf(`
cp --preserve=xattr %[1]s %[2]s; cp --preserve=xattr %[1]s %[3]s; cp --preserve=xattr %[1]s %[4]s; cp --preserve=xattr %[1]s.json %[4]s.json
cp --preserve=xattr %[1]s %[5]s; setfattr -n user.holdfast.mark -v another %[5]s; cp --preserve=xattr %[6]s %[7]s
echo notes > backups/p/notes.txt; echo x > backups/dump.tar.gz; cp --preserve=xattr %[1]s backups/p/my-own-copy.tar.gz
find backups -type f -exec touch -d '2 days ago' {} +
cp --preserve=xattr %[1]s %[8]s`, path, loser, unknown, adoptable, foreign, other, otherLoser, young))
	run := func(args ...string) string {
		out, err := exec.Command(binary, append([]string{"sweep", "--config", d.config}, args...)...).CombinedOutput()
		if err != nil {
			t.Errorf("sweep: %v: %s", err, out)
		}
		return string(out)
	}
	there := func() string { return sh(t, dir, "find backups -type f | sort") }
	before := there()
	dry := run("--dry-run")
	if there() != before || !strings.Contains(dry, "0 of them removed") {
		t.Errorf("the dry run removed something: %s", dry)
	}
	out := run()
	for _, want := range []string{
		"found local: p/" + filepath.Base(loser), "found local: my-p/" + filepath.Base(otherLoser), "another attempt of its backup completed; the log has not recorded that it was stored, so it stays",
		"found local: p/" + filepath.Base(unknown), "found local: p/" + filepath.Base(adoptable), "`holdfastd adopt` records it",
		"found local: p/" + filepath.Base(foreign), "the log does not know it, so it stays", "6 found, 0 of them removed",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if after := there(); after != before {
		t.Errorf("left\n%s\nwant\n%s", after, before)
	}
	d.want(d.call("POST", "/backups/"+mine.backup()["id"].(string)+"/verify", ""), 200, `"status":"ok"`)
}

// TestLockedArchive: a bucket that does not let go of an archive. The backup stays
// listed and readable, and the answer says until when.
func TestLockedArchive(t *testing.T) {
	dir := t.TempDir()
	sh(t, dir, "mkdir src && echo x > src/a")
	srv := testenv.Versity(t, testenv.VersityConfig{Versioning: true})
	bucket := srv.Bucket(t, "locked", true)
	s3 := fmt.Sprintf("  s3: {endpoint: %q, bucket: %s, access_key_id: %s, secret_access_key: %s}\n", srv.URL, bucket, testenv.AccessKey, testenv.SecretKey)
	d := start(t, with(config(dir+"/data", dir+"/backups", fmt.Sprintf("{id: p, config: {root: %s/src, include: ['**']}}", dir), ""), s3))
	d.ready()
	a := d.call("POST", "/backups", `{"projectId":"p","destination":"s3"}`)
	d.want(a, 201)
	id, key := a.backup()["id"].(string), strings.TrimPrefix(a.backup()["path"].(string), "s3://locked/")
	c, err := testenv.S3Client(srv.URL, "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	mode, until, days, unit := minio.Compliance, time.Now().Add(time.Hour), uint(1), minio.Days
	if err := c.PutObjectRetention(t.Context(), bucket, key, minio.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &until}); err != nil {
		t.Fatal(err)
	}
	d.want(d.call("DELETE", "/backups/"+id, ""), 503, "The destination keeps the archive: it is retained (compliance) until "+until.UTC().Format("2006-01-02"))
	d.want(d.call("GET", "/backups", ""), 200, id)
	d.want(d.call("GET", "/backups/"+id+"/download", ""), 200)
	d.want(d.call("POST", "/backups/"+id+"/verify", ""), 200, `"status":"ok"`)
	if err := c.SetBucketObjectLockConfig(t.Context(), bucket, &mode, &days, &unit); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(binary, "config", "check", "--connect", "--config", d.config).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Destination s3 works, and keeps what it has") {
		t.Errorf("config check --connect: %v: %s", err, out)
	}
	d.want(d.call("POST", "/backups", `{"projectId":"p","destination":"s3"}`), 201)
}

// TestPublicKeyOnly: a server that can encrypt but not read, with its archives on
// S3. It verifies what it can, says what it cannot, and does not restore.
func TestPublicKeyOnly(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	sh(t, dir, "mkdir src && echo x > src/a && printf '%s\n' "+id.String()+" > key")
	srv := testenv.Versity(t, testenv.VersityConfig{})
	bucket := srv.Bucket(t, "holdfast", false)
	s3 := fmt.Sprintf("  s3: {endpoint: %q, bucket: %s, access_key_id: %s, secret_access_key: %s}\n", srv.URL, bucket, testenv.AccessKey, testenv.SecretKey)
	encryption := fmt.Sprintf("encryption: {default: true, recipients: [%s]", id.Recipient())
	cfg := with(config(dir+"/data", dir+"/backups", fmt.Sprintf("{id: p, config: {root: %s/src, include: ['**']}}", dir), encryption+"}\n"), s3)
	d := start(t, cfg)
	d.ready()
	a := d.call("POST", "/backups", `{"projectId":"p","destination":"s3"}`)
	d.want(a, 201, `"encrypted":true`, `.tar.gz.age"`)
	backup := "/backups/" + a.backup()["id"].(string)
	d.want(d.call("POST", backup+"/verify", ""), 200, `"status":"ok"`, "Only the checksum of the whole was compared: the archive is encrypted, and the worker has no key")
	d.want(d.call("POST", backup+"/restore", `{"safetyBackup":false}`), 400, "no key to read it: set encryption.identity_file")
	d.kill(syscall.SIGTERM)
	sh(t, dir, fmt.Sprintf("sed -i 's|^encryption: .*|%s, identity_file: %s/key}|' %s", encryption, dir, d.config))
	d.run()
	d.ready()
	again := d.call("POST", backup+"/verify", "")
	d.want(again, 200, `"status":"ok"`)
	if strings.Contains(again.body, "message") {
		t.Errorf("with a key: %s", again.body)
	}
	d.want(d.call("POST", backup+"/restore", `{"safetyBackup":false}`), 200)
}

// TestKilledDuringAnUpload: the next attempt completes, and nothing of the first
// one is left at the destination, not even an unfinished upload.
func TestKilledDuringAnUpload(t *testing.T) {
	dir := t.TempDir()
	sh(t, dir, "mkdir src && head -c 200000000 /dev/urandom > src/noise")
	srv := testenv.Versity(t, testenv.VersityConfig{})
	bucket := srv.Bucket(t, "holdfast", false)
	c, err := testenv.S3Client(srv.URL, "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	uploads := func() (keys []string) {
		for u := range c.ListIncompleteUploads(t.Context(), bucket, "", true) {
			if u.Err != nil {
				t.Fatal(u.Err)
			}
			keys = append(keys, u.Key)
		}
		return keys
	}
	s3 := fmt.Sprintf("  s3: {endpoint: %q, bucket: %s, access_key_id: %s, secret_access_key: %s}\n", srv.URL, bucket, testenv.AccessKey, testenv.SecretKey)
	d := start(t, with(config(dir+"/data", dir+"/backups", fmt.Sprintf("{id: p, functions: {path: %s/src}}", dir), ""), s3))
	d.ready()
	a := d.call("POST", "/backups", `{"projectId":"p","destination":"s3"}`, "Prefer", "respond-async")
	d.want(a, 202)
	testenv.Eventually(t, 20*time.Second, func() error {
		if len(uploads()) == 0 {
			return fmt.Errorf("no upload yet")
		}
		return nil
	})
	d.kill(syscall.SIGKILL)
	if left := uploads(); len(left) != 1 {
		t.Errorf("the killed daemon left %v", left)
	}
	d.run()
	d.ready()
	testenv.Eventually(t, 60*time.Second, func() error {
		if b := d.call("GET", "/backups/"+a.backup()["id"].(string), ""); !strings.Contains(b.body, `"status":"completed"`) || !strings.Contains(b.body, "-a2.tar.gz") {
			return fmt.Errorf("%s", b.body)
		}
		return nil
	})
	testenv.Eventually(t, 10*time.Second, func() error {
		if left := uploads(); len(left) > 0 {
			return fmt.Errorf("left: %v", left)
		}
		return nil
	})
}

// TestDestinationThatRefuses: the answer says what to do.
func TestDestinationThatRefuses(t *testing.T) {
	dir := t.TempDir()
	sh(t, dir, "mkdir src && echo x > src/a")
	srv := testenv.Versity(t, testenv.VersityConfig{})
	bucket := srv.Bucket(t, "holdfast", false)
	s3 := fmt.Sprintf(`  s3: {endpoint: %q, bucket: %s, access_key_id: %s, secret_access_key: wrong}
  minio: {endpoint: %q, bucket: nowhere, access_key_id: %s, secret_access_key: %s}
`, srv.URL, bucket, testenv.AccessKey, srv.URL, testenv.AccessKey, testenv.SecretKey)
	d := start(t, with(config(dir+"/data", dir+"/backups", fmt.Sprintf("{id: p, config: {root: %s/src, include: ['**']}}", dir), ""), s3))
	d.ready()
	for name, want := range map[string]string{
		"s3": "The destination refused access: the key is not known or its secret is wrong", "minio": "The bucket of the destination does not exist: create the bucket nowhere, or correct bucket",
	} {
		d.want(d.call("POST", "/backups", fmt.Sprintf(`{"projectId":"p","destination":%q}`, name)), 500, "Backup failed: "+want)
		d.want(d.call("GET", "/backups?destination="+name, ""), 200, `"status":"failed"`, `"reason":"destination"`)
	}
	out, err := exec.Command(binary, "config", "check", "--connect", "--config", d.config).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "destination s3: ") || !strings.Contains(string(out), "its secret is wrong") || !strings.Contains(string(out), "create the bucket nowhere") {
		t.Errorf("config check --connect: %v: %s", err, out)
	}
}

// TestSweepOfUploads: those of attempts that have ended are aborted, in a bucket
// that others use as well.
func TestSweepOfUploads(t *testing.T) {
	dir := t.TempDir()
	sh(t, dir, "mkdir src && echo x > src/a")
	srv := testenv.Versity(t, testenv.VersityConfig{})
	bucket := srv.Bucket(t, "shared", false)
	c, err := testenv.S3Client(srv.URL, "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	core := minio.Core{Client: c}
	s3 := fmt.Sprintf("  s3: {endpoint: %q, bucket: %s, prefix: backups, access_key_id: %s, secret_access_key: %s}\n", srv.URL, bucket, testenv.AccessKey, testenv.SecretKey)
	d := start(t, with(config(dir+"/data", dir+"/backups", fmt.Sprintf("{id: p, config: {root: %s/src, include: ['**']}}", dir), ""), s3))
	d.ready()
	a := d.call("POST", "/backups", `{"projectId":"p","destination":"s3"}`)
	d.want(a, 201)
	key := strings.TrimPrefix(a.backup()["path"].(string), "s3://shared/")
	loser := strings.Replace(key, ".tar.gz", "-a2.tar.gz", 1)
	others := []string{"backups/p/2026-01-01-full-aaaaaaaaaa.tar.gz", "backups/p/report.pdf", "other/" + strings.TrimPrefix(loser, "backups/"), "movie.mkv"}
	for _, k := range append([]string{loser}, others...) {
		if _, err := core.NewMultipartUpload(t.Context(), bucket, k, minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(binary, "sweep", "--config", d.config).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "removed s3: "+strings.TrimPrefix(loser, "backups/")+" (unfinished upload") || !strings.Contains(string(out), "1 found, 1 of them removed") {
		t.Errorf("sweep: %v: %s", err, out)
	}
	var left []string
	for u := range c.ListIncompleteUploads(t.Context(), bucket, "", true) {
		if u.Err != nil {
			t.Fatal(u.Err)
		}
		left = append(left, u.Key)
	}
	slices.Sort(left)
	slices.Sort(others)
	if !slices.Equal(left, others) {
		t.Errorf("left %v, want %v", left, others)
	}
	if _, err := c.StatObject(t.Context(), bucket, key, minio.StatObjectOptions{}); err != nil {
		t.Error(err)
	}
}
