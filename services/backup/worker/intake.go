package worker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/internal/logging"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// Create handles a [backup.Create]. What this worker cannot do it rejects.
func (w *Worker) Create(ctx context.Context, c *backup.Create, cause events.Cause) error {
	a := c.CommandRoute().About
	if err := w.cancelFirst(ctx, c.ID, cause); err != nil {
		return err
	}
	_, err := events.Update(ctx, w.log, a, cause, func(s backup.State) (events.Event, error) {
		e, err := backup.Accept(s, *c)
		if err != nil {
			return nil, err
		}
		return e, w.fits(ctx, c)
	})
	if err == nil || errors.Is(err, events.ErrNoChange) || fault.CodeOf(err) == fault.IdempotencyMismatch {
		return nil // of a mismatch the gateway finds out by reading the backup
	}
	if code := fault.CodeOf(err); code != fault.Internal {
		return w.Reject(ctx, a, cause, err)
	}
	return err
}

// Reject records that a request was refused, so that nobody waits for it.
func (w *Worker) Reject(ctx context.Context, a events.Aggregate, cause events.Cause, why error) error {
	_, err := events.Update(ctx, w.log, a, cause, func(s backup.State) (events.Event, error) {
		return backup.Reject(s, fault.CodeOf(why), fault.MessageOf(why))
	})
	if errors.Is(err, events.ErrNoChange) {
		return nil
	}
	return err
}

// fits returns why this worker cannot make the backup, if it cannot.
func (w *Worker) fits(ctx context.Context, c *backup.Create) error {
	p, ok := w.projects[c.Project]
	if !ok {
		return fault.Errorf(fault.ProjectNotFound, "Project not found")
	}
	if found := p.Resolve(ctx); !slices.Contains(backup.Types(), c.Type) || len(partsOf(found, c.Type)) == 0 {
		return fault.Errorf(fault.Invalid, "The project has no part %s; it has %s", c.Type, strings.Join(partNames(found), ", "))
	}
	if _, ok := w.cfg.Destinations[c.Destination]; !ok {
		return fault.Errorf(fault.Invalid, "The destination %s is not configured; there is %s", c.Destination, strings.Join(w.destinations(), ", "))
	}
	if c.Under != "" {
		h, err := backup.HoldingOf(ctx, w.log, events.Aggregate{Project: c.Project, Kind: events.KindRestore, ID: c.Under})
		if err != nil {
			return err
		}
		if h.Ended {
			return fault.Errorf(fault.Conflict, "The restore that wanted this safety backup has ended")
		}
	}
	if c.Encrypt && len(w.cfg.Recipients) == 0 {
		return fault.Errorf(fault.Invalid, "Encryption is not configured; set encryption.recipients")
	}
	if w.cfg.Room != nil {
		if err := w.cfg.Room(); err != nil {
			return fault.Wrap(err, fault.Unavailable, "There is too little disk space to accept a backup; make room and try again")
		}
	}
	return nil
}

// Delete handles a [backup.Delete]: it records the wish, deletes, and records
// that. Whoever repeats it after a crash finishes it.
func (w *Worker) Delete(ctx context.Context, c *backup.Delete, cause events.Cause) error {
	a := c.CommandRoute().About
	var state backup.State
	env, err := events.Update(ctx, events.AtLeast(w.log, a, c.Known), a, cause, func(s backup.State) (events.Event, error) {
		state = s
		return backup.RequestDelete(s)
	})
	switch code := fault.CodeOf(err); {
	case code == fault.BackupNotFound || code == fault.Conflict:
		return nil // the gateway says so itself; the state has changed meanwhile
	case err != nil && !errors.Is(err, events.ErrNoChange):
		return err
	}
	end := events.Event(events.BackupDeleted{})
	if err := w.erase(ctx, a, state); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w.cfg.Logger.Error("delete failed", logging.Backup(c.ID), logging.Project(c.Project), zap.Error(err))
		end = deleteFailed(err)
	}
	log := events.AtLeast(w.log, a, max(state.Revision, env.Revision))
	_, err = events.Update(ctx, log, a, cause, func(s backup.State) (events.Event, error) { return backup.EndDelete(s, end) })
	if errors.Is(err, events.ErrNoChange) {
		return nil
	}
	return err
}

// erase removes the archive and everything that any attempt has stored.
func (w *Worker) erase(ctx context.Context, a events.Aggregate, s backup.State) error {
	store, ok := w.cfg.Destinations[s.Request.Destination]
	if !ok {
		return fault.Errorf(fault.Conflict, "The destination %s is not in the configuration of the worker %s any more", s.Request.Destination, w.cfg.Name)
	}
	if s.Completed != nil {
		if err := removeRecorded(ctx, store, s.Completed.Key); err != nil {
			return err
		}
	}
	return w.removeAttempts(ctx, a, s, s.Attempt)
}

func deleteFailed(err error) events.BackupDeleteFailed {
	e := events.BackupDeleteFailed{Reason: events.ReasonDestination, Message: "The destination did not delete the archive; the log of the worker says why"}
	advice := "check its permissions or credentials"
	if d, ok := errors.AsType[*destination.Error](err); ok && d.Advice != "" {
		advice = d.Advice
	}
	switch {
	case errors.Is(err, destination.ErrLocked):
		e.Message = "The destination keeps the archive: " + advice
	case errors.Is(err, destination.ErrDenied):
		e.Message = "The destination refused to delete the archive: " + advice
	case errors.Is(err, destination.ErrUnreachable), errors.Is(err, destination.ErrNoBucket):
		e.Message = "The destination cannot be used: " + advice
	case fault.CodeOf(err) == fault.Conflict:
		e.Reason, e.Message = events.ReasonConfig, fault.MessageOf(err)
	}
	return e
}

func (w *Worker) destinations() []string { return slices.Sorted(maps.Keys(w.cfg.Destinations)) }
