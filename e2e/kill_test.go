package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/testenv"
)

// killed is a damaged project with a backup, on which restores are killed.
type killed struct {
	t               *testing.T
	src             *testenv.Supabase
	d               *daemon
	id              string // of the backup
	before, damaged string
}

func newKilled(t *testing.T) *killed {
	t.Helper()
	src, project := supabaseProject(t, testenv.SupabaseConfig{Major: 15, Objects: 60})
	dir := t.TempDir()
	d := start(t, config(dir+"/data", dir+"/backups", project, ""))
	d.ready()
	a := d.call("POST", "/backups", full)
	d.want(a, 201)
	k := &killed{t: t, src: src, d: d, id: a.backup()["id"].(string), before: facts(t, src)}
	damage(t, src)
	k.damaged = facts(t, src)
	return k
}

// begin asks for a restore and returns its id.
func (k *killed) begin() string {
	k.t.Helper()
	a := k.d.call("POST", "/backups/"+k.id+"/restore", `{}`, "Prefer", "respond-async")
	k.d.want(a, 202)
	return a.restore(k.t).ID
}

// ends waits until a restore has ended, checks that the project is either as it
// was or as it shall be, in all its parts, and damages it again. It returns how
// the restore ended.
func (k *killed) ends(id, when string) string {
	k.t.Helper()
	var r restored
	testenv.Eventually(k.t, 60*time.Second, func() error {
		a, err := k.d.try("GET", "/restores/"+id, "")
		if err != nil {
			return err
		}
		if r = a.restore(k.t); r.Status != "completed" && r.Status != "failed" {
			return fmt.Errorf("%s", a.body)
		}
		return nil
	})
	if r.Status == "failed" {
		same(k.t, when+", failed", k.damaged, facts(k.t, k.src))
		return r.Status
	}
	same(k.t, when, k.before, facts(k.t, k.src))
	k.d.want(k.d.call("POST", "/restores/"+id+"/undo", ""), 200, `"undone":true`)
	same(k.t, when+", undone", k.damaged, facts(k.t, k.src))
	return r.Status
}

// TestRestoreKilledAtAnyTime kills the daemon with -9, sooner or later after a
// restore began, and starts it again.
func TestRestoreKilledAtAnyTime(t *testing.T) {
	k := newKilled(t)
	for after := 100 * time.Millisecond; after < 3500*time.Millisecond; after += 400 * time.Millisecond {
		id := k.begin()
		time.Sleep(after)
		k.d.kill(syscall.SIGKILL)
		k.d.run()
		k.d.ready()
		if end := k.ends(id, fmt.Sprintf("killed after %s", after)); end != "completed" {
			t.Errorf("killed after %s: %s", after, end)
		}
	}
}

// TestRestoreKilledAtEachRename kills the daemon just before a rename, one after
// another: those of a swap among them.
func TestRestoreKilledAtEachRename(t *testing.T) {
	t.Parallel() // most of it is waiting
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal("strace is not here; `make deps` installs it")
	}
	k := newKilled(t)
	died := 0
	for n := 1; n <= 12; n++ {
		id := k.beginTraced(n)
		if id == "" {
			continue
		}
		died++
		if end := k.ends(id, fmt.Sprintf("killed at rename %d", n)); end != "completed" {
			t.Errorf("killed at rename %d: %s", n, end)
		}
	}
	if died < 6 {
		t.Errorf("only %d restores were killed", died)
	}
}

// beginTraced begins a restore under strace, which kills the daemon at its nth rename,
// starts it again and returns the id of the restore, or "" if it was not killed.
func (k *killed) beginTraced(n int) string {
	k.t.Helper()
	id := k.begin()
	pid := fmt.Sprint(k.d.cmd.Process.Pid)
	tracer := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=rename,renameat,renameat2", "-e", fmt.Sprintf("inject=rename,renameat,renameat2:signal=KILL:when=%d", n), "-p", pid)
	var out strings.Builder
	tracer.Stderr = &out
	if err := tracer.Start(); err != nil {
		k.t.Fatal(err)
	}
	testenv.Eventually(k.t, 5*time.Second, func() error {
		if got := sh(k.t, ".", "grep TracerPid /proc/"+pid+"/status"); strings.TrimSpace(strings.TrimPrefix(got, "TracerPid:")) == "0" {
			return fmt.Errorf("not traced yet: %s", out.String())
		}
		return nil
	})
	gone := make(chan error, 1)
	go func() { gone <- k.d.cmd.Wait() }()
	select {
	case <-gone:
		_ = tracer.Wait()
		k.d.run()
		k.d.ready()
		return id
	case <-time.After(20 * time.Second):
		_ = tracer.Process.Signal(syscall.SIGINT)
		_ = tracer.Wait()
		k.t.Logf("rename %d: not killed", n)
		k.ends(id, "not killed")
		k.d.kill(syscall.SIGTERM)
		k.d.run()
		k.d.ready()
		return ""
	}
}
