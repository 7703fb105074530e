package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/testenv"
)

// TestEncryptedRestore restores an archive that is encrypted, and refuses to
// without its key.
func TestEncryptedRestore(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	src, project := supabaseProject(t, testenv.SupabaseConfig{Major: 15, Objects: 20})
	dir := t.TempDir()
	keyFile := filepath.Join(dir, "key.txt")
	conf := func(identity string) string {
		return config(dir+"/data", dir+"/backups", project, fmt.Sprintf("encryption: {recipients: [%s], identity_file: %q}\n", id.Recipient(), identity))
	}
	d := start(t, conf(""))
	d.ready()
	a := d.call("POST", "/backups", `{"projectId":"p","encrypt":true}`)
	d.want(a, 201)
	restore := "/backups/" + a.backup()["id"].(string) + "/restore"
	before := facts(t, src)
	damage(t, src)
	damaged := facts(t, src)
	d.want(d.call("POST", restore, `{}`), 400, "encryption.identity_file")
	for _, key := range []*age.X25519Identity{other, id} {
		d.kill(syscall.SIGTERM)
		if err := os.WriteFile(keyFile, []byte(key.String()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(d.config, []byte(strings.ReplaceAll(conf(keyFile), "PORT", fmt.Sprint(d.port))), 0o600); err != nil {
			t.Fatal(err)
		}
		d.run()
		d.ready()
		got := d.call("POST", restore, `{}`)
		if key == other {
			d.want(got, 500, "none of the identities in encryption.identity_file opens it", "The project is unchanged")
			same(t, "with the wrong key", damaged, facts(t, src))
			continue
		}
		d.want(got, 200)
		same(t, "after the restore", before, facts(t, src))
	}
}

// TestRestoreIntoAnotherProject needs force, since that one is not empty.
func TestRestoreIntoAnotherProject(t *testing.T) {
	src, project := supabaseProject(t, testenv.SupabaseConfig{Major: 15, Objects: 20})
	to := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: 17, Objects: 5})
	dir := t.TempDir()
	d := start(t, config(dir+"/data", dir+"/backups", project+fmt.Sprintf("\n  - {id: q, supabase: %s, database: {tools: %s}}", to.Dir, to.DB.Bin), ""))
	d.ready()
	a := d.call("POST", "/backups", full)
	d.want(a, 201)
	env := sh(t, to.Dir, "cat .env")
	restore := "/backups/" + a.backup()["id"].(string) + "/restore"
	d.want(d.call("POST", restore, `{"targetProjectId":"q"}`), 409, "not empty", "unchanged")
	r := d.call("POST", restore, `{"targetProjectId":"q","forceRestore":true}`)
	d.want(r, 200, `"projectId":"q"`, "1 cron jobs of the other project are disabled", "vault secret api_key", "webhook order_webhook", ".env was not restored")
	if got := sh(t, to.Dir, "cat .env; find volumes/storage -type f -not -path '*/.holdfast-*' | wc -l"); got != env+"20\n" {
		t.Errorf("got %s", got)
	}
	d.want(d.call("GET", "/backups/"+a.backup()["id"].(string), ""), 200, `"restoreHistory":[{`, `"projectId":"q"`)
	_ = src
}

// TestHooksAndTheEndOfWhatIsKept stops sessions by the project's own command, and
// lets what was replaced go after its time.
func TestHooksAndTheEndOfWhatIsKept(t *testing.T) {
	src := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: 15, Objects: 5})
	dir := t.TempDir()
	project := fmt.Sprintf(`{id: p, supabase: %s, database: {tools: %s}, restore: {before: "echo before $HOLDFAST_PROJECT >> %s/hooks; test ! -e %s/refuse", after: "echo after >> %s/hooks", timeout: 10s}}`, src.Dir, src.DB.Bin, dir, dir, dir)
	d := start(t, config(dir+"/data", dir+"/backups", project, "restore: {keep_old: 3s}\n"))
	d.ready()
	a := d.call("POST", "/backups", full)
	d.want(a, 201)
	restore := "/backups/" + a.backup()["id"].(string) + "/restore"
	conn, err := pgx.Connect(t.Context(), src.DB.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	before := facts(t, src)
	sh(t, dir, "touch refuse")
	d.want(d.call("POST", restore, `{}`), 500, "restore.before failed, so nothing was changed", "unchanged")
	same(t, "refused by the hook", before, facts(t, src))
	sh(t, dir, "rm refuse")
	r := d.call("POST", restore, `{}`) // the session is the hook's business, and ended
	d.want(r, 200)
	if got := sh(t, dir, "cat hooks"); got != "before p\nafter\nbefore p\nafter\n" {
		t.Errorf("hooks: %s", got)
	}
	testenv.Eventually(t, 30*time.Second, func() error {
		left := sh(t, src.Dir, src.DB.Bin+"/psql -At '"+src.DB.URL("template1")+"' -c \"SELECT datname FROM pg_database WHERE datname LIKE '%before%'\"; find . -name '.holdfast-*'")
		if left != "" {
			return fmt.Errorf("still there: %s", left)
		}
		return nil
	})
	d.want(d.call("POST", "/restores/"+r.restore(t).ID+"/undo", ""), 409, "not kept any more")
}

// TestOneRestoreAtATime asks for a second one while the first waits in its hook,
// and for a backup, which waits.
func TestOneRestoreAtATime(t *testing.T) {
	src := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: 15, Objects: 5})
	dir := t.TempDir()
	project := fmt.Sprintf(`{id: p, supabase: %s, database: {tools: %s}, restore: {before: "while [ ! -e %s/go ]; do sleep .05; done", after: "true", timeout: 60s}}`, src.Dir, src.DB.Bin, dir)
	d := start(t, config(dir+"/data", dir+"/backups", project, ""))
	d.ready()
	a := d.call("POST", "/backups", full)
	d.want(a, 201)
	id := a.backup()["id"].(string)
	first := d.call("POST", "/backups/"+id+"/restore", `{"restoreTypes":["config"]}`, "Prefer", "respond-async")
	d.want(first, 202, `"status":"`) // pending, or already in progress
	testenv.Eventually(t, 20*time.Second, func() error {
		if r := d.call("GET", "/restores/"+first.restore(t).ID, "").restore(t); r.Stage != "safe" {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	d.want(d.call("POST", "/backups/"+id+"/restore", `{}`), 409, "Another restore of the project is running")
	d.want(d.call("DELETE", "/backups/"+id, ""), 409, "being restored")
	waiting := d.call("POST", "/backups", `{"projectId":"p","type":"config"}`, "Prefer", "wait=2")
	d.want(waiting, 202, `"status":"pending"`)
	sh(t, dir, "touch go")
	for path, want := range map[string]string{"/restores/" + first.restore(t).ID: "completed", "/backups/" + waiting.backup()["id"].(string): "completed"} {
		testenv.Eventually(t, 30*time.Second, func() error {
			if a := d.call("GET", path, ""); !strings.Contains(a.body, `"status":"`+want) {
				return fmt.Errorf("%s", a.body)
			}
			return nil
		})
	}
}

// TestServerDiesDuringARestore crashes the database half-way and starts it again:
// the restore goes on by itself.
func TestServerDiesDuringARestore(t *testing.T) {
	src, project := supabaseProject(t, testenv.SupabaseConfig{Major: 15, Objects: 20})
	dir := t.TempDir()
	d := start(t, config(dir+"/data", dir+"/backups", project, ""))
	d.ready()
	a := d.call("POST", "/backups", full)
	d.want(a, 201)
	before := facts(t, src)
	damage(t, src)
	r := d.call("POST", "/backups/"+a.backup()["id"].(string)+"/restore", `{}`, "Prefer", "respond-async")
	d.want(r, 202)
	time.Sleep(800 * time.Millisecond)
	src.DB.Signal(syscall.SIGQUIT)
	if err := src.DB.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 60*time.Second, func() error {
		a := d.call("GET", "/restores/"+r.restore(t).ID, "")
		if !strings.Contains(a.body, `"status":"completed"`) {
			return fmt.Errorf("%s", a.body)
		}
		return nil
	})
	same(t, "after the restore", before, facts(t, src))
}

// TestFullDiskDuringARestore has too little room for the dump.
func TestFullDiskDuringARestore(t *testing.T) {
	small, dir := smallDisk(t, "40m"), t.TempDir()
	src, project := supabaseProject(t, testenv.SupabaseConfig{Major: 15, Objects: 5})
	d := start(t, config(small+"/data", dir+"/backups", project, ""))
	d.ready()
	a := d.call("POST", "/backups", full)
	d.want(a, 201)
	before := facts(t, src)
	if err := os.MkdirAll(small+"/data/restores", 0o700); err != nil {
		t.Fatal(err)
	}
	sh(t, small, "dd if=/dev/zero of=fill bs=1M count=$(( $(df -k --output=avail . | tail -1) / 1024 - 4 )) status=none")
	d.want(d.call("POST", "/backups/"+a.backup()["id"].(string)+"/restore", `{"safetyBackup":false}`), 409, "The restore was refused: The part database needs ", " MiB on the disk of "+small, "must stay free (min_free)", "The project is unchanged")
	same(t, "after the failure", before, facts(t, src))
	sh(t, small, "rm fill")
	testenv.Eventually(t, 60*time.Second, func() error {
		a, err := d.try("POST", "/backups/"+a.backup()["id"].(string)+"/restore", `{"safetyBackup":false}`)
		if err != nil || a.status != 200 {
			return fmt.Errorf("%w %s", err, a.body)
		}
		return nil
	})
	same(t, "after there was room", before, facts(t, src))
}

// TestSwapThatFailsIsTurnedBack lets the functions' swap fail, by a mount on one of
// them, after the database and the storage files were swapped.
func TestSwapThatFailsIsTurnedBack(t *testing.T) {
	src := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: 15, Objects: 20})
	dir, hello := t.TempDir(), src.Dir+"/volumes/functions/hello"
	if os.Getuid() != 0 {
		t.Skip("not root: nothing can be mounted here")
	}
	project := fmt.Sprintf(`{id: p, supabase: %s, database: {tools: %s}, restore: {before: "mount -t tmpfs tmpfs %s", after: "umount %s"}}`, src.Dir, src.DB.Bin, hello, hello)
	d := start(t, config(dir+"/data", dir+"/backups", project, ""))
	d.ready()
	a := d.call("POST", "/backups", full)
	d.want(a, 201)
	damage(t, src)
	damaged := facts(t, src)
	d.want(d.call("POST", "/backups/"+a.backup()["id"].(string)+"/restore", `{}`), 500, "The old files of the part functions could not be moved away", "The project is unchanged")
	same(t, "turned back", damaged, facts(t, src))
	left := sh(t, src.Dir, src.DB.Bin+"/psql -At '"+src.DB.URL("template1")+"' -c \"SELECT datname FROM pg_database WHERE datname LIKE '%before%' OR datname LIKE 'holdfast%'\"; find . -name '.holdfast-*'")
	if left != "" {
		t.Errorf("left behind: %s", left)
	}
}
