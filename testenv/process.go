package testenv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// toolsDir is where scripts/deps.sh installs.
func toolsDir() string {
	if dir := os.Getenv("HOLDFAST_TOOLS"); dir != "" {
		return dir
	}
	return "/var/cache/holdfast-tools"
}

// process is a server that runs as a child.
type process struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
}

// startProcess starts a program of toolsDir. It ends with the test, or with the
// test binary when that is killed.
func startProcess(tb testing.TB, env []string, program string, args ...string) *process {
	tb.Helper()
	return startProcessOn(tb, nil, env, program, args...)
}

// startProcessOn is startProcess on another machine.
func startProcessOn(tb testing.TB, m *Machine, env []string, program string, args ...string) *process {
	tb.Helper()
	if _, err := exec.LookPath(program); err != nil {
		tb.Fatalf("%s is not here; `make deps` installs it", program)
	}
	p := &process{log: filepath.Join(tb.TempDir(), "log"), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		tb.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command(program, args...) // the cleanup ends it
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + tb.TempDir(), "TZ=UTC"}, env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig is sent when the thread ends that started the child
		err := m.Start(p.cmd)
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is in its log
		}
		close(p.ended)
	}()
	if err := <-started; err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended before
		<-p.ended
	})
	return p
}

// ready waits until url answers with a status.
func (p *process) ready(tb testing.TB, url string, status int) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	for {
		err := get(ctx, url, status)
		if err == nil {
			return
		}
		select {
		case <-p.ended:
			tb.Fatalf("%s ended at start: %s", p.cmd.Path, p.tail())
		case <-ctx.Done():
			tb.Fatalf("%s is not ready: %v: %s", p.cmd.Path, err, p.tail())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func get(ctx context.Context, url string, status int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != status {
		return errors.Join(err, fmt.Errorf("%s: %s", url, res.Status))
	}
	return nil
}

// tail returns the end of the log.
func (p *process) tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
