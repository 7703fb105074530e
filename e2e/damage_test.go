package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/testenv"
)

// unready waits until /readyz says why the daemon is not ready.
func (d *daemon) unready(words string) {
	d.t.Helper()
	testenv.Eventually(d.t, 30*time.Second, func() error {
		resp, err := d.client.Get(d.url("/readyz"))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(b), words) {
			return fmt.Errorf("%s: %s", resp.Status, b)
		}
		return nil
	})
}

// command runs a command of holdfastd that must succeed, and returns what it says.
func (d *daemon) command(args ...string) string {
	d.t.Helper()
	out, err := exec.CommandContext(d.t.Context(), binary, append(args, "--config", d.config)...).CombinedOutput()
	if err != nil {
		d.t.Errorf("holdfastd %v: %v: %s", args, err, out)
	}
	return string(out)
}

// TestDamagedLog damages the log of ten backups: nothing is written until the operator
// accepts that, and nothing is lost after adopt.
func TestDamagedLog(t *testing.T) {
	for name, harm := range map[string]string{
		"a flipped byte": `f=$(echo data/nats/jetstream/*/streams/HOLDFAST_EVENTS/msgs/1.blk); rm -f $(dirname $f)/index.db
printf '\377\377\377' | dd of=$f bs=1 seek=$(($(stat -c %s $f) / 2)) conv=notrunc status=none`,
		"no stream": "rm -r data/nats",
		"no data":   "rm -r data",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := start(t, small(t, dir))
			d.ready()
			for range 10 {
				d.want(d.call("POST", "/backups", full), 201)
			}
			d.kill(syscall.SIGKILL)
			sh(t, dir, harm)
			d.run()
			d.unready("Until then nothing is written")
			d.want(d.call("POST", "/backups", full), 503)
			if !strings.Contains(d.metrics(), "holdfast_log_damaged 1") {
				t.Errorf("metrics: %s", d.metrics())
			}
			if name != "no data" {
				d.want(d.call("GET", "/backups", ""), 200, `"total":10`) // the catalog still knows them
			}
			log, err := os.ReadFile(d.config + ".log")
			if err != nil || !strings.Contains(string(log), `"level":"error"`) || !strings.Contains(string(log), "the event log is damaged") {
				t.Errorf("nothing is logged: %v", err)
			}
			d.command("adopt", "--destination", "local")
			if name != "no data" {
				if out := d.command("log", "accept", "--reason", "the disk was bad"); !strings.Contains(out, "Accepted. What was lost: the event log has lost revision") {
					t.Errorf("accept says %s", out)
				}
			}
			d.ready()
			d.want(d.call("POST", "/backups", full), 201)
			testenv.Eventually(t, 30*time.Second, func() error {
				if a := d.call("GET", "/backups?status=completed", ""); !strings.Contains(a.body, `"total":11`) {
					return fmt.Errorf("%s", a.body)
				}
				return nil
			})
			if got := objects(t, dir+"/backups"); len(got) != 22 {
				t.Errorf("%d objects, want 22", len(got))
			}
			d.kill(syscall.SIGTERM)
			d.run()
			d.ready()
			if out := d.command("log", "check"); !strings.Contains(out, "whole") {
				t.Errorf("check says %s", out)
			}
			d.want(d.call("GET", "/backups", ""), 200, `"total":11`)
		})
	}
}

// TestRepeatAfterALoss repeats a request with an Idempotency-Key on a log that has
// lost its backup.
func TestRepeatAfterALoss(t *testing.T) {
	dir := t.TempDir()
	d := start(t, small(t, dir))
	d.ready()
	a := d.call("POST", "/backups", full, "Idempotency-Key", "k")
	d.want(a, 201)
	path := a.backup()["path"].(string)
	before := sh(t, dir, "sha256sum "+path)
	d.kill(syscall.SIGKILL)
	sh(t, dir, "rm -r data")
	d.run()
	d.unready("does not know some archives at the destination local")
	d.command("log", "accept", "--reason", "try")
	d.ready()
	again := d.call("POST", "/backups", full, "Idempotency-Key", "k")
	d.want(again, 201, `"unknown_archive"`)
	if got := again.backup()["path"]; got != strings.Replace(path, ".tar.gz", "-a2.tar.gz", 1) {
		t.Errorf("stored as %v", got)
	}
	if after := sh(t, dir, "sha256sum "+path); after != before {
		t.Errorf("%s became %s", before, after)
	}
	if _, err := os.Stat(path + ".json"); err != nil {
		t.Error(err)
	}
}
