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

// evict takes holders out of the slot that have ended without giving it back.
func (w *Worker) evict(ctx context.Context, project string, cause events.Cause) error {
	env, err := w.log.Last(ctx, events.SlotAggregate(project))
	if err != nil {
		return err
	}
	for _, h := range (backup.Slot{}).Apply(env).Holders {
		holding, err := w.holding(ctx, events.Aggregate{Project: project, Kind: h.Kind, ID: h.ID})
		if err != nil {
			return err
		}
		if !holding.Ended || holding.Undoing {
			continue
		}
		_, err = events.UpdateLast(ctx, w.log, events.SlotAggregate(project), cause, func(s backup.Slot) (events.Event, error) { return backup.Release(s, h) })
		if err != nil && !errors.Is(err, events.ErrNoChange) {
			return err
		}
	}
	return nil
}

// holding returns whether what may hold a slot still works.
func (w *Worker) holding(ctx context.Context, a events.Aggregate) (h backup.Holding, err error) {
	for env, err := range w.log.Read(ctx, a, 0) {
		if err != nil {
			return h, err
		}
		h = h.Apply(env)
	}
	return h, nil
}
