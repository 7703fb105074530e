package worker

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/logging"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// claim waits until no other goroutine of this worker works on a restore, and takes it.
func (w *Worker) claim(ctx context.Context, id string) (release func(), err error) {
	for {
		w.mu.Lock()
		other, taken := w.claims[id]
		if !taken {
			mine := make(chan struct{})
			w.claims[id] = mine
			w.mu.Unlock()
			return func() {
				w.mu.Lock()
				delete(w.claims, id)
				w.mu.Unlock()
				close(mine)
			}, nil
		}
		w.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Resume goes on with the swaps and undos that were cut off when the last process with
// this Dir ended. Their deliveries come again only after their time for an
// acknowledgement, and until then the project would lack files.
func (w *Worker) Resume(ctx context.Context) {
	files, _ := filepath.Glob(w.locationFile("*")) // the pattern is good
	for _, file := range files {
		id := strings.TrimSuffix(filepath.Base(file), filepath.Base(w.locationFile("")))
		for project := range w.projects {
			a := events.RestoreAggregate(project, id)
			if err := w.resume(ctx, a); err != nil && ctx.Err() == nil {
				w.cfg.Logger.Warn("a restore that was cut off goes on later", logging.Restore(id), logging.Project(project), zap.Error(err))
			}
		}
	}
}

func (w *Worker) resume(ctx context.Context, a events.Aggregate) error {
	state, cause, err := w.interrupted(ctx, a)
	if err != nil || state.Request.Pool != w.cfg.Pool {
		return err
	}
	log := events.AtLeast(w.log, a, state.Revision)
	switch {
	case state.Undoing:
		return w.Undo(ctx, &restore.Undo{ID: a.ID, Project: a.Project, Pool: w.cfg.Pool, Known: state.Revision}, cause)
	case !state.Terminal() && state.Done(restore.Ready):
		return w.work(ctx, log, a, cause)
	}
	return nil
}

// interrupted returns the state of a restore and the cause of its request, however long
// the log is out of reach. The restore may be one of another project.
func (w *Worker) interrupted(ctx context.Context, a events.Aggregate) (s restore.State, cause events.Cause, err error) {
	for {
		s, err = restore.State{}, nil
		for env, rerr := range w.log.Read(ctx, a, 0) {
			if err = rerr; err != nil {
				break
			}
			if s = s.Apply(env); s.Attempt == 0 {
				cause = w.cause(env)
			}
		}
		if !errors.Is(err, events.ErrUnavailable) || ctx.Err() != nil {
			return s, cause, err
		}
		wait(ctx, patienceWait)
	}
}
