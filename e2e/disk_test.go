package e2e

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/testenv"
)

// smallDisk mounts a small file system, which only root can.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("not root: a small file system cannot be mounted here")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_FORCE|syscall.MNT_DETACH) })
	return dir
}

// TestFullDisk puts the log and the destination on one small file system.
func TestFullDisk(t *testing.T) {
	dir, files := smallDisk(t, "64m"), t.TempDir()
	big := "'" + files + "/big'"
	sh(t, files, "dd if=/dev/urandom of="+big+" bs=1M count=80 status=none")
	text := config(dir+"/data", dir+"/backups", fmt.Sprintf(`{id: p, functions: {path: %s}}`, files), "")
	d := start(t, strings.Replace(text, "min_free: 1MiB", "min_free: 8MiB", 1))
	d.ready()
	d.want(d.call("POST", "/backups", full), 500, "Backup failed: Insufficient disk space")
	d.want(d.call("GET", "/backups?status=failed", ""), 200, `"reason":"no_space"`)
	sh(t, dir, "dd if=/dev/zero of=fill bs=1M status=none 2>/dev/null || true") // now the log has no room either
	d.unready("min_free is 8 MiB: make room")
	failed := d.call("GET", "/backups?status=failed", "").body
	_, rest, _ := strings.Cut(failed, `"id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	// The request for a backup is refused before it is written. The deletion makes
	// room, so it is tried: where the log's last page has room for its events it
	// succeeds, and otherwise it says that the log is unavailable.
	deleted := false
	for _, c := range [][3]string{{"POST", "/backups", full}, {"DELETE", "/backups/" + id, ""}} {
		begin := time.Now()
		a := d.call(c[0], c[1], c[2])
		if c[0] == "POST" {
			d.want(a, 503, "Nothing new is taken: ", "make room")
		}
		if deleted = c[0] == "DELETE" && a.status == 200; !deleted {
			d.want(a, 503, `"code":"unavailable"`)
		}
		took := time.Since(begin)
		t.Logf("%s: answered after %s", c[0], took)
		if took > unavailableWithin {
			t.Errorf("%s: answered after %s", c[0], took)
		}
	}
	sh(t, dir, "rm fill; truncate -s 1M "+big)
	testenv.Eventually(t, 90*time.Second, func() error {
		a, err := d.try("POST", "/backups", full)
		if err != nil || a.status != 201 {
			return fmt.Errorf("%w: %s", err, a.body)
		}
		return nil
	})
	if deleted {
		d.want(d.call("GET", "/backups/"+id, ""), 404)
	}
}

// TestFullDiskOfAnExternalServer fills the disk of a NATS server that holdfastd cannot
// restart: /readyz says so, and that it must be restarted.
func TestFullDiskOfAnExternalServer(t *testing.T) {
	store, dir := smallDisk(t, "32m"), t.TempDir()
	sh(t, dir, "mkdir src && echo 1 > src/file")
	n := testenv.NATSAlone(t, testenv.NATSBinary(t), store)
	d := start(t, config(dir+"/data", dir+"/backups", fmt.Sprintf("{id: p, config: {root: %s/src, include: ['**']}}", dir), fmt.Sprintf("nats: {url: %q}\n", n.URL)))
	d.ready()
	d.want(d.call("POST", "/backups", full), 201)
	sh(t, store, "dd if=/dev/zero of=fill bs=1M status=none 2>/dev/null || true; dd if=/dev/zero of=rest bs=512 status=none 2>/dev/null || true")
	refused := func() error { // until the last page of each file is full
		begin := time.Now()
		a, err := d.try("POST", "/backups", full)
		took := time.Since(begin)
		t.Logf("%d after %s", a.status, took)
		if took > unavailableWithin+2*time.Second { // a request may be the first to find it out
			t.Errorf("%d after %s", a.status, took)
		}
		if err == nil && a.status != http.StatusServiceUnavailable {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	}
	testenv.Eventually(t, time.Minute, refused)
	d.unready("the NATS server stores nothing. See its log; after a full disk make room and restart it")
	sh(t, store, "rm fill rest")
	n.Kill(t)
	n.Restart(t)
	testenv.Eventually(t, 2*time.Minute, func() error {
		a, err := d.try("POST", "/backups", full, "Idempotency-Key", "k")
		if err == nil && a.status != http.StatusCreated {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	})
	d.ready()
}

// TestTheRoomForARestore lets a sparse file come back on a disk that could not hold
// what it seems to be, and refuses one that has data.
func TestTheRoomForARestore(t *testing.T) {
	disk, dir := smallDisk(t, "64m"), t.TempDir()
	sh(t, disk, "mkdir -p fn/main; echo x > fn/main/index.ts; truncate -s 200M fn/main/cache.img; echo end >> fn/main/cache.img")
	text := config(dir+"/data", dir+"/backups", fmt.Sprintf(`{id: p, functions: {path: %s/fn}}`, disk), "")
	d := start(t, strings.Replace(text, "min_free: 1MiB", "min_free: 8MiB", 1))
	d.ready()
	a := d.call("POST", "/backups", full)
	d.want(a, 201)
	d.want(d.call("POST", "/backups/"+a.backup()["id"].(string)+"/restore", `{"safetyBackup":false}`), 200)
	if got := sh(t, disk, "du -k fn/main/cache.img | cut -f1; stat -c %s fn/main/cache.img"); got != "4\n209715204\n" {
		t.Errorf("the sparse file has %s", got)
	}
	sh(t, disk, "rm fn/main/cache.img; dd if=/dev/urandom of=fn/main/big bs=1M count=30 status=none")
	a = d.call("POST", "/backups", full)
	d.want(a, 201)
	for _, body := range []string{`{"dryRun":true}`, `{"safetyBackup":false}`} {
		b := d.call("POST", "/backups/"+a.backup()["id"].(string)+"/restore", body)
		if !strings.Contains(b.body, "The part functions needs 31 MiB on the disk of "+disk+"/fn, which has ") || !strings.Contains(b.body, "8 MiB of which must stay free (min_free)") {
			t.Errorf("%s: %d %s", body, b.status, b.body)
		}
	}
	if got := sh(t, disk, "ls -A fn fn/main | grep -v holdfast-old"); got != "fn:\nmain\n\nfn/main:\nbig\nindex.ts\n" {
		t.Errorf("the folder holds %s", got)
	}
}

// TestTheRoomForSeveralParts refuses a restore of two parts that have room on their disk
// one by one, and not together.
func TestTheRoomForSeveralParts(t *testing.T) {
	disk, dir := smallDisk(t, "64m"), t.TempDir()
	sh(t, disk, "mkdir fn cf; for d in fn cf; do dd if=/dev/urandom of=$d/big bs=1M count=10 status=none; done")
	text := config(dir+"/data", dir+"/backups", fmt.Sprintf(`{id: p, functions: {path: %s/fn}, config: {root: %s/cf, include: ["**"]}}`, disk, disk), "")
	d := start(t, strings.Replace(text, "min_free: 1MiB", "min_free: 8MiB", 1))
	d.ready()
	a := d.call("POST", "/backups", full)
	d.want(a, 201)
	sh(t, disk, "dd if=/dev/zero of=fill bs=1M count=20 status=none")
	restore := "/backups/" + a.backup()["id"].(string) + "/restore"
	d.want(d.call("POST", restore, `{"dryRun":true,"restoreTypes":["functions"]}`), 200, `"wouldSucceed":true`)
	for _, body := range []string{`{"dryRun":true}`, `{"safetyBackup":false}`} {
		b := d.call("POST", restore, body)
		if !strings.Contains(b.body, "The parts functions (11 MiB) and config (11 MiB) together need 21 MiB on the disk of "+disk+"/fn, which has ") {
			t.Errorf("%s: %d %s", body, b.status, b.body)
		}
	}
}
