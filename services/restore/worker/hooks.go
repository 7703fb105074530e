package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/logging"
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

// run runs one of the hooks, if there is one. It may run twice after a crash. What the
// command says may hold secrets of the project: it goes into the log of the daemon only,
// never into an error, which becomes part of events and answers.
func (h Hooks) run(ctx context.Context, which string, a events.Aggregate, l *zap.Logger) error {
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
	var out lastWords
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(tctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("it took longer than %s", h.Timeout)
	}
	if err == nil {
		return nil
	}
	l.Warn("a command of the project failed", logging.Restore(a.ID), zap.String("command", "restore."+which), zap.Error(err),
		zap.String("command_output", out.String()), zap.Bool("command_output_cut", out.cut))
	return fmt.Errorf("%w; what it said is in the log of holdfastd, at restore %s", err, a.ID)
}

// lastWords keeps the end of what is written to it.
type lastWords struct {
	b   []byte
	cut bool
}

const maxWords = 4 << 10

// Write implements io.Writer.
func (w *lastWords) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	if over := len(w.b) - maxWords; over > 0 {
		w.b, w.cut = append(w.b[:0], w.b[over:]...), true
	}
	return len(p), nil
}

func (w *lastWords) String() string { return strings.ToValidUTF8(strings.TrimSpace(string(w.b)), "?") }
