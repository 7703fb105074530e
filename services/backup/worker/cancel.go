package worker

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/internal/logging"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// errCancelled ends an attempt because somebody has asked for that.
var errCancelled = errors.New("the backup was asked to stop")

// Cancel handles a [backup.Cancel]. A running attempt sees the wish and stops by itself;
// what has no attempt, or no worker at all, ends here.
func (w *Worker) Cancel(ctx context.Context, c *backup.Cancel, cause events.Cause) error {
	a := c.CommandRoute().About
	var seen backup.State
	env, err := events.Update(ctx, events.AtLeast(w.log, a, c.Known), a, cause, func(s backup.State) (events.Event, error) {
		seen = s
		return backup.RequestCancel(s, *c)
	})
	switch code := fault.CodeOf(err); {
	case code == fault.BackupNotFound || code == fault.Conflict:
		return nil // the gateway says so itself
	case err != nil && !errors.Is(err, events.ErrNoChange):
		return err
	}
	if seen.Running && w.alive(ctx, seen.Request.Pool) {
		return nil
	}
	log := events.AtLeast(w.log, a, max(seen.Revision, env.Revision))
	if _, err := events.Update(ctx, log, a, cause, backup.EndCancel); err != nil && !errors.Is(err, events.ErrNoChange) {
		return err
	}
	w.cfg.Logger.Info("backup cancelled", logging.Backup(a.ID), logging.Project(a.Project))
	return w.release(ctx, a, cause, 0)
}

// cancelFirst handles a cancellation that waits in the queue: it was asked for before the
// backup could go on, which must not overtake it.
func (w *Worker) cancelFirst(ctx context.Context, id string, cause events.Cause) error {
	if w.cfg.Waiting == nil {
		return nil
	}
	var c backup.Cancel
	sent, err := w.cfg.Waiting(ctx, backup.Service, backup.VerbCancel, id, &c)
	if err != nil || sent.IsZero() {
		return err
	}
	return w.Cancel(ctx, &c, cause)
}

// alive reports whether a pool has a worker. Of its own it does.
func (w *Worker) alive(ctx context.Context, pool string) bool {
	return pool == w.cfg.Pool || w.cfg.Alive != nil && w.cfg.Alive(ctx, pool)
}

// stop records that a running attempt has stopped, and leaves no object behind.
func (at *attempt) stop(ctx context.Context) error {
	if err := at.discard(ctx); err != nil {
		at.l.Warn("left behind at the destination", zap.Error(err))
	}
	_, err := events.Update(ctx, at.log, at.a, at.cause, backup.EndCancel)
	if errors.Is(err, events.ErrNoChange) {
		return nil
	}
	return err
}
