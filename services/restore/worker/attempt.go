package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/logging"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// attempt is one try to restore.
type attempt struct {
	w       *Worker
	log     events.Log // knows that the attempt has started
	a       events.Aggregate
	state   restore.State
	cause   events.Cause
	l       *zap.Logger
	project Project
	found   project.Project // where its parts are
	source  *source
	warned  *warnings
	pulse   pulse
	plan    events.RestorePlan

	encrypted bool   // the backup is; known once the archive is open
	sum       string // SHA-256 of its object, as the log has it; known then too

	identity  project.Identity  // of the project's database; zero before the check
	passwords *passwords        // of the services; nil if nothing is done about them
	replace   map[string][]byte // see [project.Target]
}

// run does the attempt and records how it ended. An error means that the request
// shall come again.
func (at *attempt) run(ctx context.Context) error {
	begin := time.Now()
	at.l.Info("restore started")
	err := at.guarded(ctx)
	took := logging.Duration(time.Since(begin))
	if at.source != nil {
		took = zap.Dict("work", took, zap.Int64("archive_bytes_read", at.source.read.Load()))
	}
	switch {
	case errors.Is(err, events.ErrFenced):
		at.l.Warn("another attempt has taken over", took)
		return err
	case errors.Is(err, restore.ErrCancelled):
		at.l.Info("restore cancelled", took)
		return at.stop(ctx)
	case ctx.Err() != nil:
		at.l.Info("restore interrupted; the next attempt takes over", took)
		return ctx.Err()
	case err == nil:
		at.l.Info("restore completed", took)
		return nil
	}
	at.l.Error("attempt failed", took, zap.Error(err))
	return at.fail(ctx, err)
}

// do goes through the stages.
func (at *attempt) do(ctx context.Context) (err error) {
	if at.project.ID == "" {
		return misfit("The project %s is not in the configuration of worker %s any more", at.a.Project, at.w.cfg.Name)
	}
	if err := at.locate(ctx); err != nil {
		return err
	}
	if at.warned, err = openWarnings(at.w.WarningsFile(at.a.ID), at.state.Done(restore.Ready)); err != nil {
		return err
	}
	defer at.warned.close()
	if !at.state.Done(restore.Ready) {
		if err := at.prepare(ctx); err != nil || at.state.Request.DryRun {
			return err
		}
	}
	if at.state.Done(restore.Back) {
		return at.turnBack(ctx, misfit("A part could not be put in its place; the log of the worker says why"))
	}
	if err := at.swap(ctx); err != nil {
		return err
	}
	if err := at.project.Hooks.run(ctx, after, at.a, at.l); err != nil {
		at.l.Warn("restore.after failed", zap.Error(err))
		at.warned.add(archive.Warning{Code: "after_failed", Sentence: "The command restore.after failed, so start the project's services by hand: " + err.Error()})
	}
	until := time.Now().Add(min(at.w.cfg.KeepOld, maxKeep)).UTC().Truncate(time.Second)
	if err := at.complete(ctx, events.RestoreCompleted{Warnings: at.warned.forEvent(), KeptUntil: &until}); err != nil {
		return err
	}
	at.discard(ctx)
	return nil
}

// maxKeep is for ever, as far as an event can say it.
const maxKeep = 100 * 365 * 24 * time.Hour

// prepare does everything that changes nothing.
func (at *attempt) prepare(ctx context.Context) error {
	at.pulse.phase("check")
	if err := at.open(ctx); err != nil {
		return err
	}
	if err := at.check(ctx); err != nil {
		return err
	}
	if at.state.Request.DryRun {
		return at.complete(ctx, events.RestoreCompleted{Plan: &at.plan})
	}
	if err := refusal(at.plan.Checks); err != nil {
		return err
	}
	for _, name := range at.state.Request.Parts {
		at.pulse.phase(name)
		r, t, err := at.restoration(name)
		if err != nil {
			return err
		}
		from := archive.NewPartReader(at.source.plain, t.Source)
		if name == project.Database {
			from = nil // spooled
		}
		if err := r.Build(ctx, from); err != nil {
			return fmt.Errorf("%s: %w", name, at.source.explain(err))
		}
	}
	if err := at.wholeSum(); err != nil {
		return err
	}
	if err := at.stage(ctx, restore.Built); err != nil {
		return err
	}
	if at.state.Request.Safety && !at.state.Done(restore.Safe) {
		at.pulse.alone("safety backup") // which has its own watch
		if err := at.safety(ctx); err != nil {
			return err
		}
	}
	if err := at.stage(ctx, restore.Safe); err != nil {
		return err
	}
	at.pulse.alone("swap")
	if err := at.keepLocation(ctx); err != nil {
		return err
	}
	if err := at.project.Hooks.run(ctx, before, at.a, at.l); err != nil {
		return misfit("The command restore.before failed, so nothing was changed: %v", err)
	}
	return at.stage(ctx, restore.Ready)
}

// stage records a stage. It fails when another attempt has taken over.
func (at *attempt) stage(ctx context.Context, name string) error {
	var seen restore.State
	env, err := at.update(ctx, func(s restore.State) (events.Event, error) {
		seen = s
		return restore.Stage(s, at.state.Attempt, name)
	})
	if errors.Is(err, events.ErrNoChange) {
		at.state = seen
		return nil
	}
	if err == nil {
		at.state = at.state.Apply(env)
		at.l.Info("stage completed", zap.String("stage", name))
	}
	return err
}

func (at *attempt) complete(ctx context.Context, e events.RestoreCompleted) error {
	e.Attempt = at.state.Attempt
	_, err := at.update(ctx, func(s restore.State) (events.Event, error) {
		return restore.Complete(s, e)
	})
	if errors.Is(err, events.ErrNoChange) {
		return nil
	}
	return err
}

// retryWait is the pause before another attempt.
const retryWait = 3 * time.Second

// fail records the bad end. Unless it is final, the request comes again.
func (at *attempt) fail(ctx context.Context, cause error) error {
	e := diagnose(cause)
	e.Attempt, e.State, e.Checks = at.state.Attempt, restore.Unchanged, at.plan.Checks
	if at.state.Done(restore.Ready) {
		e.State = restore.Partly
		if r, ok := errors.AsType[*rolledBackError](cause); ok {
			e.State, e.Retryable = r.state, false
		}
	}
	// First the event: an attempt that another one has superseded must not remove what that
	// one builds under the same names.
	env, err := at.update(ctx, func(s restore.State) (events.Event, error) { return restore.Fail(s, e) })
	if err != nil {
		return err
	}
	switch {
	case e.State != restore.Unchanged:
	case e.Reason == events.ReasonStalled:
		at.discardSoon(ctx)
	default:
		at.discard(ctx)
	}
	if env.Event.(events.RestoreFailed).Final {
		if e.State == restore.Unchanged {
			at.settle(ctx)
		}
		return nil
	}
	return events.RetryAfter(cause, retryWait)
}

// parts are the parts of the project that are restored, in their order.
func (at *attempt) parts() (out []project.Part) {
	for _, p := range at.found.Parts {
		if slices.Contains(at.state.Request.Parts, p.Name()) {
			out = append(out, p)
		}
	}
	return out
}

// swapTries is how often a part is swapped before all is turned back.
const swapTries = 3

// rolledBackError is the cause of a restore that was turned back, and how that went.
type rolledBackError struct {
	error
	state string
}

func (r *rolledBackError) Unwrap() error { return r.error }

// swap puts part after part in its place. When one cannot be, all of them go back.
func (at *attempt) swap(ctx context.Context) error {
	at.pulse.alone("swap")
	for _, p := range at.parts() {
		var err error
		for try := range swapTries {
			if err = at.swapPart(ctx, p); err == nil || ctx.Err() != nil {
				break
			}
			at.l.Warn("swap failed", zap.String("part", p.Name()), zap.Int("try", try+1), zap.Error(err))
			if _, known := errors.AsType[*project.Error](err); known { // trying again at once would only close the database again
				break
			}
			wait(ctx, time.Second)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if project.MayRetry(err) { // the server is away, for a moment perhaps
			return err
		}
		if err != nil {
			if serr := at.stage(ctx, restore.Back); serr != nil {
				return serr
			}
			return at.turnBack(ctx, err)
		}
	}
	err := at.checkLeads(ctx)
	if err == nil {
		err = at.provePasswords(ctx)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if project.MayRetry(err) {
		return err
	}
	if err != nil {
		if serr := at.stage(ctx, restore.Back); serr != nil {
			return serr
		}
		return at.turnBack(ctx, err)
	}
	return nil
}

// swapPart puts a part in its place. Before the files change that say so, the roles of
// the services get the password of those that come.
func (at *attempt) swapPart(ctx context.Context, p project.Part) error {
	if p.Name() == project.Config {
		if err := at.changePasswords(ctx); err != nil {
			return err
		}
	}
	return p.Restoration(at.target(p.Name(), archive.Part{}, nil)).Swap(ctx)
}

// undoPart puts back what a part has replaced. When the roles cannot get their password
// back, the files with the other one stay.
func (at *attempt) undoPart(ctx context.Context, p project.Part, kept project.Kept) error {
	if p.Name() == project.Config {
		if err := at.returnPasswords(ctx); err != nil {
			return err
		}
	}
	return kept.Undo(ctx)
}

func (at *attempt) turnBack(ctx context.Context, cause error) error {
	state := restore.Unchanged
	for _, p := range slices.Backward(at.parts()) {
		kept := p.Kept(at.target(p.Name(), archive.Part{}, nil))
		err := at.undoPart(ctx, p, kept)
		if err == nil {
			err = kept.Drop(ctx) // the copies that are not wanted
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if project.MayRetry(err) {
			return err
		}
		if err != nil {
			at.l.Error("cannot turn back", zap.String("part", p.Name()), zap.Error(err))
			state = restore.Partly
		}
	}
	_ = at.project.Hooks.run(ctx, after, at.a, at.l) // what was stopped shall run again; the failure is recorded anyway
	return &rolledBackError{cause, state}
}

// discardSoon discards, but does not wait for ever: a file system that hangs is why a
// restore fails, and that has to be recorded.
func (at *attempt) discardSoon(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		at.discard(ctx)
	}()
	select {
	case <-done:
	case <-time.After(discardTime):
		at.l.Warn("left behind: it takes too long to remove what was built")
	}
}

// discardTime is enough for hundreds of thousands of files.
const discardTime = time.Minute

// discard removes what was built and not swapped. What cannot be removed only
// takes room.
func (at *attempt) discard(ctx context.Context) {
	if at.state.Request.DryRun {
		return
	}
	at.removeConfig()
	for _, p := range at.parts() {
		if err := p.Restoration(at.target(p.Name(), archive.Part{}, nil)).Discard(context.WithoutCancel(ctx)); err != nil {
			at.l.Warn("left behind", zap.String("part", p.Name()), zap.Error(err))
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
