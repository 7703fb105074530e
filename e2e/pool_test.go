package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/testenv"
)

// TestRenamedPool renames the pool after a kill in the middle of a backup.
func TestRenamedPool(t *testing.T) {
	dir := t.TempDir()
	_, project := bigDatabase(t)
	d := start(t, config(dir+"/data", dir+"/backups", project, ""))
	d.ready()
	d.want(d.call("POST", "/backups", `{"projectId":"p"}`), 201)
	old := d.call("GET", "/backups", "").body
	a := d.call("POST", "/backups", full, "Prefer", "respond-async")
	d.want(a, 202)
	testenv.Eventually(t, 30*time.Second, func() error {
		if len(objects(t, dir+"/backups")) < 3 {
			return fmt.Errorf("not writing yet")
		}
		return nil
	})
	d.kill(syscall.SIGKILL)
	text, err := os.ReadFile(d.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.config, append(text, "\npool: main\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	d.run()
	d.ready()
	id := a.backup()["id"].(string)
	testenv.Eventually(t, 60*time.Second, func() error {
		if a := d.call("GET", "/backups/"+id, ""); !strings.Contains(a.body, "A worker of the pool default; none has been running since") {
			return fmt.Errorf("%s", a.body)
		}
		return nil
	})
	const sentence = "Pool default has 0 backups that wait and 1 that run, and no worker"
	if b, err := os.ReadFile(d.config + ".log"); err != nil || !strings.Contains(string(b), sentence) {
		t.Errorf("the log does not say it (%v)", err)
	}
	testenv.Eventually(t, 60*time.Second, func() error { // a worker may be restarted meanwhile
		res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", d.port))
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if b, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(b), sentence) {
			return fmt.Errorf("%s (%w)", b, err)
		}
		return nil
	})
	if m := d.metrics(); !strings.Contains(m, `holdfast_pool_has_worker{pool="default"} 0`) || !strings.Contains(m, `holdfast_pool_has_worker{pool="main"} 1`) {
		t.Error("the metric does not say it")
	}
	testenv.Eventually(t, 30*time.Second, func() error { // the worker of the new pool has to register first
		if a := d.call("POST", "/backups/"+id+"/cancel", ""); a.status != 200 || !strings.Contains(a.body, `"reason":"cancelled"`) {
			return fmt.Errorf("%s", a.body)
		}
		return nil
	})
	_, rest, _ := strings.Cut(old, `"id":"`)
	older, _, _ := strings.Cut(rest, `"`)
	d.want(d.call("GET", "/backups/"+older+"/download", "", "Range", "bytes=0-9"), 206) // its pool has no worker
	d.want(d.call("POST", "/backups", full), 201)
	d.want(d.call("POST", "/backups/"+older+"/restore", `{"dryRun":true}`), 200) // an archive of the old pool
}
