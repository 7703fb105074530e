package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/events"
)

// Hooks are commands of a project that stop and start its services around a swap:
// sessions that connect again at once would keep the database from being renamed.
type Hooks struct {
	Before  string // run by sh
	After   string
	Dir     string // in which they run
	Timeout time.Duration
}

const (
	before = "before"
	after  = "after"
)

// run runs one of the hooks, if there is one. It may run twice after a crash.
func (h Hooks) run(ctx context.Context, which string, a events.Aggregate) error {
	script := map[string]string{before: h.Before, after: h.After}[which]
	if script == "" {
		return nil
	}
	tctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	cmd := exec.CommandContext(tctx, "sh", "-c", script) //nolint:gosec // the operator's command
	cmd.Dir = h.Dir
	cmd.Env = append(os.Environ(), "HOLDFAST_PROJECT="+a.Project, "HOLDFAST_RESTORE="+a.ID)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(tctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("it took longer than %s", h.Timeout)
	case err != nil:
		said := strings.TrimSpace(out.String())
		return fmt.Errorf("%w: %s", err, said[max(0, len(said)-300):])
	}
	return nil
}
