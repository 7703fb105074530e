package worker

import (
	"context"
	"errors"
	"os"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/internal/logging"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// Cancel handles a [restore.Cancel]. A running attempt sees the request and stops by
// itself; what has no attempt, or no worker at all, ends here.
func (w *Worker) Cancel(ctx context.Context, c *restore.Cancel, cause events.Cause) error {
	a := c.CommandRoute().About
	var seen restore.State
	env, err := events.Update(ctx, events.AtLeast(w.log, a, c.Known), a, cause, func(s restore.State) (events.Event, error) {
		seen = s
		return restore.RequestCancel(s, *c)
	})
	switch code := fault.CodeOf(err); {
	case code == fault.NotFound || code == fault.Conflict:
		return nil // the gateway says so itself
	case err != nil && !errors.Is(err, events.ErrNoChange):
		return err
	}
	if seen.Running && w.alive(ctx, seen.Request.Pool) {
		return nil
	}
	log := events.AtLeast(w.log, a, max(seen.Revision, env.Revision))
	if _, err := events.Update(ctx, log, a, cause, restore.EndCancel); err != nil && !errors.Is(err, events.ErrNoChange) {
		return err
	}
	w.cfg.Logger.Info("restore cancelled", logging.Restore(a.ID), logging.Project(a.Project))
	return w.release(ctx, a, cause, 0)
}

// cancelFirst handles a cancellation that waits in the queue: it was asked for before the
// restore could go on, which must not overtake it.
func (w *Worker) cancelFirst(ctx context.Context, id string, cause events.Cause) error {
	if w.cfg.Waiting == nil {
		return nil
	}
	var c restore.Cancel
	sent, err := w.cfg.Waiting(ctx, restore.Service, restore.VerbCancel, id, &c)
	if err != nil || sent.IsZero() {
		return err
	}
	return w.Cancel(ctx, &c, cause)
}

// alive reports whether a pool has a worker. Of its own it does.
func (w *Worker) alive(ctx context.Context, pool string) bool {
	return pool == w.cfg.Pool || w.cfg.Alive != nil && w.cfg.Alive(ctx, pool)
}

// stop leaves nothing behind and records that a running attempt has stopped. Nobody else
// builds under the same names: an attempt that follows a cancellation ends the restore.
func (at *attempt) stop(ctx context.Context) error {
	if err := at.leave(ctx); err != nil {
		return err
	}
	_, err := at.update(ctx, restore.EndCancel)
	if errors.Is(err, events.ErrNoChange) {
		return nil
	}
	return err
}

// stopDead is stop for a restore whose worker has died: what that one has left is gone
// before the restore ends.
func (w *Worker) stopDead(ctx context.Context, log events.Log, a events.Aggregate, cause events.Cause) error {
	s, err := read(ctx, log, a)
	if err != nil {
		return err
	}
	return w.attempt(a, s, cause).stop(ctx)
}

// leave removes what a restore has built that has not changed the project, and lets the
// services run again.
func (at *attempt) leave(ctx context.Context) error {
	if at.project.ID == "" {
		return nil // it was taken out of the configuration
	}
	if err := at.locate(ctx); err != nil {
		return err
	}
	at.discard(ctx)
	at.settle(ctx)
	return ctx.Err()
}

// settle ends what a restore that has not changed the project has begun besides.
func (at *attempt) settle(ctx context.Context) {
	at.endSafety(ctx)
	if at.w.located(at.a.ID) { // this attempt or an earlier one may have stopped the services
		_ = at.project.Hooks.run(ctx, after, at.a, at.l) // the restore has ended, however that goes
	}
	if ctx.Err() == nil {
		at.forgetLocation()
	}
}

// endSafety cancels the safety backup, should it still run.
func (at *attempt) endSafety(ctx context.Context) {
	if !at.state.Request.Safety || !at.state.Done(restore.Built) || at.state.Done(restore.Safe) {
		return
	}
	env, err := at.w.log.Last(ctx, events.ProjectAggregate(at.a.Project))
	if p, ok := env.Event.(events.ProjectRegistered); err == nil && ok {
		err = at.w.cfg.Send(ctx, backup.Cancel{ID: restore.SafetyID(at.a.ID), Project: at.a.Project, Pool: p.Pool}, at.cause)
	}
	if err != nil {
		at.l.Warn("the safety backup may go on", zap.Error(err))
	}
}

// located reports whether a restore has written down where the parts are, which it does
// before it stops the services.
func (w *Worker) located(id string) bool {
	_, err := os.Lstat(w.locationFile(id))
	return err == nil
}

// abandoned reports whether a restore that has ended without a change may have left the
// services stopped, because its worker died.
func (w *Worker) abandoned(s restore.State, id string) bool {
	return s.Failed != nil && s.Failed.State == restore.Unchanged && w.located(id)
}

// tidy removes what a restore has left that has ended, should its worker have died
// before it could.
func (w *Worker) tidy(ctx context.Context, a events.Aggregate, s restore.State, cause events.Cause) error {
	at := w.attempt(a, s, cause)
	switch {
	case s.Failed != nil && s.Failed.State == restore.Unchanged:
		return at.leave(ctx)
	case s.Completed != nil && !s.Undoing && !s.Undone && !s.Dropped && !s.Request.DryRun && at.project.ID != "":
		if err := at.locate(ctx); err != nil {
			return err
		}
		at.discard(ctx)
	}
	return ctx.Err()
}
