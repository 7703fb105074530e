package worker

import (
	"context"
	"errors"
	"slices"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/internal/logging"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// Create handles a [restore.Create]. What this worker cannot do it rejects.
func (w *Worker) Create(ctx context.Context, c *restore.Create, cause events.Cause) error {
	a := c.CommandRoute().About
	if err := w.cancelFirst(ctx, c.ID, cause); err != nil {
		return err
	}
	_, err := events.Update(ctx, w.log, a, cause, func(s restore.State) (events.Event, error) {
		e, err := restore.Accept(s, *c)
		if err != nil {
			return nil, err
		}
		return e, w.fits(ctx, c)
	})
	if err == nil || errors.Is(err, events.ErrNoChange) || fault.CodeOf(err) == fault.IdempotencyMismatch {
		return nil // of a mismatch the gateway finds out by reading the restore
	}
	if code := fault.CodeOf(err); code != fault.Internal {
		return w.Reject(ctx, a, cause, err)
	}
	return err
}

// Reject records that a request was refused, so that nobody waits for it.
func (w *Worker) Reject(ctx context.Context, a events.Aggregate, cause events.Cause, why error) error {
	_, err := events.Update(ctx, w.log, a, cause, func(s restore.State) (events.Event, error) {
		return restore.Reject(s, fault.CodeOf(why), fault.MessageOf(why))
	})
	if errors.Is(err, events.ErrNoChange) {
		return nil
	}
	return err
}

// fits returns why this worker cannot do the restore, if it cannot.
func (w *Worker) fits(ctx context.Context, c *restore.Create) error {
	p, ok := w.projects[c.Project]
	if !ok {
		return fault.Errorf(fault.ProjectNotFound, "Project not found")
	}
	b, err := archived(ctx, events.AtLeast(w.log, events.BackupAggregate(c.BackupProject, c.Backup), c.BackupKnown), c.Backup, c.BackupProject)
	if err != nil {
		return err
	}
	if len(c.Parts) == 0 || len(b.Completed.Parts) == 0 { // nothing would come back, and that would be called a success
		return fault.Errorf(fault.Conflict, "The event log names no parts of this backup, so its entry is damaged and nothing can be restored from it")
	}
	found := p.Resolve(ctx)
	for _, name := range c.Parts {
		if !slices.ContainsFunc(b.Completed.Parts, func(x events.Part) bool { return x.Name == name }) {
			return fault.Errorf(fault.Invalid, "The backup holds no %s", name)
		}
		if !slices.ContainsFunc(found.Parts, func(x project.Part) bool { return x.Name() == name }) {
			return fault.Errorf(fault.Invalid, "The project %s has no part %s to restore into", c.Project, name)
		}
	}
	if b.Completed.Encrypted && len(w.cfg.Identities) == 0 {
		return fault.Errorf(fault.Invalid, "The backup is encrypted and this server has no key to read it: set encryption.identity_file")
	}
	if b.Completed.Encrypted && c.Safety {
		if err := w.mayEncrypt(ctx, c.Project); err != nil {
			return err
		}
	}
	s, err := holders(ctx, w.log, c.Project)
	if err != nil {
		return err
	}
	for _, h := range s.Holders {
		if !h.Exclusive || h.ID == c.ID {
			continue
		}
		other, err := read(ctx, w.log, events.RestoreAggregate(c.Project, h.ID))
		if err != nil {
			return err
		}
		if !other.Terminal() { // else it is about to leave the slot
			return fault.Errorf(fault.Conflict, "Another restore of the project is running: %s", h.ID)
		}
	}
	return nil
}

// mayEncrypt returns why the safety backup of a project cannot be encrypted, if it
// cannot: what replaces an encrypted backup's project must not lie in the open.
func (w *Worker) mayEncrypt(ctx context.Context, project string) error {
	env, err := w.log.Last(ctx, events.ProjectAggregate(project))
	if err != nil && !errors.Is(err, events.ErrNoEvent) {
		return err
	}
	if p, ok := env.Event.(events.ProjectRegistered); !ok || !p.CanEncrypt {
		return fault.Errorf(fault.Invalid, `The backup is encrypted, so the safety backup of what the restore replaces must be as well, but the project %s has no key to encrypt for: set encryption.recipients, or send "safetyBackup":false`, project)
	}
	return nil
}

// Undo handles a [restore.Undo]: it records the wish, swaps back, and records that.
// Whoever repeats it after a crash finishes it.
func (w *Worker) Undo(ctx context.Context, c *restore.Undo, cause events.Cause) error {
	a := c.CommandRoute().About
	done, err := w.claim(ctx, a.ID)
	if err != nil {
		return err
	}
	defer done()
	var seen restore.State
	env, err := events.Update(ctx, events.AtLeast(w.log, a, c.Known), a, cause, func(s restore.State) (events.Event, error) {
		seen = s
		return restore.RequestUndo(s)
	})
	switch code := fault.CodeOf(err); {
	case seen.Undone: // who did it may have died before it gave the slot back
		return w.release(ctx, a, cause, 0)
	case code == fault.NotFound || code == fault.Conflict:
		return nil // the gateway says so itself
	case err != nil && !errors.Is(err, events.ErrNoChange):
		return err
	}
	log := events.AtLeast(w.log, a, max(seen.Revision, env.Revision))
	state, err := read(ctx, log, a)
	if err != nil {
		return err
	}
	if !state.Undoing {
		return nil // done before
	}
	held, err := w.alone(ctx, a, cause)
	if err != nil {
		return err
	}
	end := events.Event(events.RestoreUndone{})
	if err := w.undo(ctx, a, state, cause); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w.cfg.Logger.Error("undo failed", logging.Restore(a.ID), logging.Project(a.Project), zap.Error(err))
		why := diagnose(err)
		end = events.RestoreUndoFailed{Reason: why.Reason, Message: why.Message}
	}
	_, err = events.Update(ctx, log, a, cause, func(s restore.State) (events.Event, error) { return restore.EndUndo(s, end) })
	if err != nil && !errors.Is(err, events.ErrNoChange) {
		return err
	}
	return w.release(ctx, a, cause, held)
}

func (w *Worker) undo(ctx context.Context, a events.Aggregate, state restore.State, cause events.Cause) error {
	at := w.attempt(a, state, cause)
	if at.project.ID == "" {
		return misfit("The project %s is not in the configuration of worker %s any more", a.Project, w.cfg.Name)
	}
	if err := at.locate(ctx); err != nil {
		return err
	}
	for _, p := range at.parts() { // one that refuses shall not leave the others undone
		if err := p.Kept(at.target(p.Name(), archive.Part{}, nil)).CheckUndo(ctx); err != nil {
			return err
		}
	}
	if err := at.project.Hooks.run(ctx, before, a, at.l); err != nil {
		return errors.Join(misfit("The command restore.before failed, so nothing was changed: %v", err), at.project.Hooks.run(ctx, after, a, at.l))
	}
	var err error
	for _, p := range slices.Backward(at.parts()) {
		err = errors.Join(err, at.undoPart(ctx, p, p.Kept(at.target(p.Name(), archive.Part{}, nil))))
	}
	return errors.Join(err, at.project.Hooks.run(ctx, after, a, at.l))
}
