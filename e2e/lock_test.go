package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-dev/holdfast/testenv"
)

// small returns the configuration of a project of one file.
func small(t *testing.T, dir string) string {
	t.Helper()
	sh(t, dir, "mkdir -p src && echo x > src/a")
	return config(dir+"/data", dir+"/backups", fmt.Sprintf("{id: p, config: {root: %s/src, include: ['**']}}", dir), "")
}

// fails runs a holdfastd that must end with an error, and returns what it says.
func fails(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput()
	if err == nil {
		t.Errorf("holdfastd %v did not fail", args)
	}
	return string(out)
}

// TestOneProcessForEachDataDir starts a second daemon, and commands that cannot reach
// the first one.
func TestOneProcessForEachDataDir(t *testing.T) {
	dir := t.TempDir()
	d := start(t, small(t, dir))
	d.ready()
	d.want(d.call("POST", "/backups", full), 201)
	pid := fmt.Sprintf("data_dir: %s/data is in use by the process %d", dir, d.cmd.Process.Pid)
	other := d.config + ".other"
	text, err := os.ReadFile(d.config)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.ReplaceAll(string(text), fmt.Sprint(d.port), fmt.Sprint(testenv.FreePort(t))))
	if err := os.WriteFile(other, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := fails(t, "--config", other); !strings.Contains(out, pid+"; stop that process") {
		t.Errorf("the second daemon says %s", out)
	}
	if err := os.Remove(dir + "/data/holdfastd.sock"); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"sweep"}, {"adopt", "--destination", "local"}, {"project", "remove", "q"}} {
		if out := fails(t, append(args, "--config", d.config)...); !strings.Contains(out, pid+", whose socket") {
			t.Errorf("%v says %s", args, out)
		}
	}
	d.kill(syscall.SIGKILL)
	d.run()
	d.ready()
	d.want(d.call("GET", "/backups", ""), 200, `"total":1`)
}

// TestLongDataDir uses a data_dir whose socket has a path that is too long for an
// address.
func TestLongDataDir(t *testing.T) {
	dir := t.TempDir() + "/" + strings.Repeat("long", 30)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	d := start(t, small(t, dir))
	d.ready()
	d.want(d.call("POST", "/backups", full), 201)
	out, err := exec.CommandContext(t.Context(), binary, "adopt", "--destination", "local", "--config", d.config).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "0 adopted, 1 known before") {
		t.Errorf("adopt: %v: %s", err, out)
	}
}
