package e2e

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/testenv"
)

// TestSample runs what `make run` runs, and the lines that it prints, as printed.
func TestSample(t *testing.T) {
	dir := t.TempDir()
	sh(t, ".", "go build -o '"+dir+"/bin/' github.com/holdfast-dev/holdfast/testenv/sample")
	address := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
	cmd := exec.Command(filepath.Join(dir, "bin/sample"), binary, address)
	cmd.Dir = dir
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill() // should the test fail before it has stopped
	var lines []string
	for s := bufio.NewScanner(out); s.Scan() && !strings.HasPrefix(s.Text(), "Ctrl-C"); {
		if line, ok := strings.CutPrefix(s.Text(), "  "); ok {
			lines = append(lines, line)
		}
	}
	if len(lines) != 6 {
		t.Fatalf("printed %q", lines)
	}
	got := sh(t, dir, strings.Join(lines, "\n"))
	for _, want := range []string{`"id":"sample"`, `"success":true`, `"status":"completed"`, `"totalBackups":1`, "holdfast.json", "database/postgres.dump/0000000"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("stopped: %v", err)
	}
	if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
		conn.Close()
		t.Error("something still listens")
	}
	if left := sh(t, dir, "pgrep -f '[/]"+dir[1:]+"' || true"); left != "" {
		t.Errorf("still running: %s", left)
	}
}
