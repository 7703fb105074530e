package worker

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/logging"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// lookEvery is how often the time is noted for which something was kept.
const lookEvery = 10 * time.Minute

// Drop removes what a completed restore has replaced, when its time has come. It
// implements [events.Handler] for completed restores.
func (w *Worker) Drop(ctx context.Context, env events.Envelope) error {
	a, cause := env.Aggregate, w.cause(env)
	done, err := w.claim(ctx, a.ID)
	if err != nil {
		return err
	}
	defer done()
	state, err := read(ctx, events.AtLeast(w.log, a, env.Revision), a)
	if err != nil || state.Request.Pool != w.cfg.Pool || !state.Keeps() && !state.Dropped {
		return err
	}
	if !state.Dropped {
		left, err := w.kept.left(w.keptFile(a.ID), w.keepFor(state))
		if err != nil || left > 0 {
			return events.RetryAfter(errors.Join(errKept, err), min(left+time.Second, lookEvery))
		}
	}
	if _, ok := w.projects[a.Project]; !ok {
		return events.RetryAfter(errKept, time.Hour)
	}
	// First the decision, so that nobody asks for an undo while things go away. Until they
	// are gone the event comes again.
	_, err = events.Update(ctx, w.log, a, cause, restore.Drop)
	if err != nil && !errors.Is(err, events.ErrNoChange) {
		return err
	}
	if state, err = read(ctx, w.log, a); err != nil || !state.Dropped {
		return events.RetryAfter(errors.Join(errKept, err), time.Minute) // it is being undone
	}
	at := w.attempt(a, state, cause)
	if err := at.locate(ctx); err != nil {
		return err
	}
	for _, part := range at.parts() {
		if err := part.Kept(at.target(part.Name(), archive.Part{}, nil)).Drop(ctx); err != nil {
			w.cfg.Logger.Warn("what a restore replaced cannot be removed", logging.Restore(a.ID), zap.Error(err))
			return events.RetryAfter(err, time.Hour)
		}
	}
	at.forgetLocation()
	return w.kept.forget(w.keptFile(a.ID))
}

var errKept = errors.New("what was replaced is kept for a while")

// keepFor returns how long a restore's old state is kept.
func (w *Worker) keepFor(s restore.State) time.Duration {
	if d := s.KeepFor(); d > 0 {
		return d
	}
	return w.cfg.KeepOld
}

// keptFile is where the time is noted for which a restore's old state was kept.
func (w *Worker) keptFile(id string) string { return filepath.Join(w.cfg.Dir, id+".kept") }

// kept measures how long things are kept, in the time that workers have run: the clock of
// the machine may have been wrong when they were put aside, and right when it is looked at
// again.
type kept struct {
	mu   sync.Mutex
	seen map[string]time.Time // when a file was last looked at, on the monotonic clock
}

// left returns how much is left of the time to keep what a file is about, and notes in
// the file what has passed.
func (k *kept) left(file string, keep time.Duration) (time.Duration, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var passed time.Duration
	b, err := os.ReadFile(file)
	if err == nil {
		passed, _ = time.ParseDuration(strings.TrimSpace(string(b))) // what a crash has cut short begins anew
	} else if !errors.Is(err, fs.ErrNotExist) {
		return lookEvery, err
	}
	now := time.Now()
	if last, ok := k.seen[file]; ok {
		passed += now.Sub(last)
	}
	if k.seen == nil {
		k.seen = map[string]time.Time{}
	}
	k.seen[file] = now
	if passed >= keep {
		return 0, nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return lookEvery, err
	}
	return keep - passed, os.WriteFile(file, []byte(passed.String()+"\n"), 0o600)
}

// forget removes a file.
func (k *kept) forget(file string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.seen, file)
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
