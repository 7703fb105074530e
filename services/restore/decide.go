package restore

import (
	"errors"
	"fmt"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
)

// MaxAttempts is how often a restore is begun. One that has begun to swap is gone
// on with more often, since it must end.
const (
	MaxAttempts = 3
	maxForward  = 20
)

// Accept decides on a [Create] that the project's worker can do. The same request
// again changes nothing.
func Accept(s State, c Create) (events.Event, error) {
	if s.Exists() {
		return nil, Repeat(s, c.BodyHash)
	}
	if s.Cancel {
		return nil, fault.Errorf(fault.Conflict, "The restore was cancelled before a worker took it")
	}
	return events.RestoreRequested{
		Pool: c.Pool, Backup: c.Backup, BackupProject: c.BackupProject, Parts: c.Parts, Force: c.Force, Safety: c.Safety, DryRun: c.DryRun, BodyHash: c.BodyHash,
	}, nil
}

// Repeat returns ErrNoChange when a request with this body is the one that made
// the restore, else IdempotencyMismatch.
func Repeat(s State, bodyHash string) error {
	if s.Request.BodyHash != bodyHash {
		return fault.Errorf(fault.IdempotencyMismatch, "This Idempotency-Key was used for another request")
	}
	return events.ErrNoChange
}

// Reject decides that a request is refused. A restore that exists is not touched.
func Reject(s State, code fault.Code, message string) (events.Event, error) {
	if s.Exists() {
		return nil, events.ErrNoChange
	}
	return events.RestoreRejected{Code: string(code), Message: events.LimitText(message)}, nil
}

// Start decides on the next attempt of a restore whose request is in hand. When all
// attempts have died without a result it is the end of the restore instead. A state
// without that request is an old one, [events.ErrBehind].
func Start(s State, worker string) (events.Event, error) {
	limit, state := MaxAttempts, Unchanged
	if s.Done(Ready) {
		limit, state = maxForward, Partly
	}
	switch {
	case !s.Exists():
		return nil, events.ErrBehind
	case s.Terminal():
		return nil, events.ErrNoChange
	case s.Cancel:
		return events.RestoreCancelled{Attempt: s.Attempt}, nil
	case s.Attempt >= limit:
		return events.RestoreFailed{
			Attempt: s.Attempt, Reason: events.ReasonCrashed, State: state, Final: true,
			Message: fmt.Sprintf("The worker died in each of %d attempts; its log and the log of the system say why", s.Attempt),
		}, nil
	}
	return events.RestoreStarted{Attempt: s.Attempt + 1, Worker: worker}, nil
}

// ErrCancelled ends an attempt because somebody has asked for that.
var ErrCancelled = errors.New("the restore was asked to stop")

// Cancellable returns nil when the restore can still be cancelled, and otherwise why not.
func Cancellable(s State) error {
	switch {
	case !s.Exists():
		return fault.Errorf(fault.NotFound, "Restore not found")
	case s.Terminal():
		return fault.Errorf(fault.Conflict, "The restore has ended already")
	case s.Done(Ready):
		return fault.Errorf(fault.Conflict, "The restore has begun to replace what is there, so it cannot be cancelled; when it has completed it can be undone")
	}
	return nil
}

// RequestCancel decides on a [Cancel]. When it was asked for already it changes nothing.
func RequestCancel(s State, c Cancel) (events.Event, error) {
	if err := Cancellable(s); err != nil && (s.Exists() || !c.Queued) {
		return nil, err
	}
	if s.Cancel || !s.Exists() && s.Rejected != nil && s.Revision > c.Known { // it was refused since
		return nil, events.ErrNoChange
	}
	return events.RestoreCancelRequested{}, nil
}

// EndCancel decides that a restore which was asked to stop has stopped.
func EndCancel(s State) (events.Event, error) {
	if !s.Cancel || Cancellable(s) != nil {
		return nil, events.ErrNoChange
	}
	return events.RestoreCancelled{Attempt: s.Attempt}, nil
}

// Stage decides that an attempt has completed a stage. One that was asked to stop
// completes none: after the last of them it could not be stopped any more.
func Stage(s State, attempt int, stage string) (events.Event, error) {
	if err := s.Proceed(attempt); err != nil {
		return nil, err
	}
	if s.Done(stage) {
		return nil, events.ErrNoChange
	}
	return events.RestoreStageCompleted{Attempt: attempt, Stage: stage}, nil
}

// Complete decides on the good end of an attempt. When the log has that end already,
// because an earlier append succeeded without saying so, nothing changes.
func Complete(s State, e events.RestoreCompleted) (events.Event, error) {
	if s.Completed != nil && s.Completed.Attempt == e.Attempt {
		return nil, events.ErrNoChange
	}
	if err := s.Mine(e.Attempt); err != nil {
		return nil, err
	}
	if e.Plan != nil {
		plan := *e.Plan
		plan.Checks = events.LimitChecks(plan.Checks)
		e.Plan = &plan
	}
	return e, nil
}

// Fail decides on the bad end of an attempt: whether another follows.
func Fail(s State, e events.RestoreFailed) (events.Event, error) {
	if err := s.Mine(e.Attempt); err != nil {
		return nil, err
	}
	limit := MaxAttempts
	if s.Done(Ready) {
		limit = maxForward
	}
	e.Message, e.Checks = events.LimitText(e.Message), events.LimitChecks(e.Checks)
	e.Final = !e.Retryable || e.Attempt >= limit
	return e, nil
}

// Mine returns ErrFenced unless the attempt is the running one.
func (s State) Mine(attempt int) error {
	if s.Attempt != attempt || !s.Running {
		return events.ErrFenced
	}
	return nil
}

// Proceed returns ErrFenced unless the attempt is the running one, and ErrCancelled when
// it was asked to stop.
func (s State) Proceed(attempt int) error {
	if err := s.Mine(attempt); err != nil {
		return err
	}
	if s.Cancel {
		return ErrCancelled
	}
	return nil
}

// Undoable returns nil when what was replaced can come back, and otherwise why not.
func Undoable(s State) error {
	switch {
	case !s.Exists():
		return fault.Errorf(fault.NotFound, "Restore not found")
	case s.Request.DryRun:
		return fault.Errorf(fault.Conflict, "A dry run has changed nothing that could be undone")
	case s.Completed == nil:
		return fault.Errorf(fault.Conflict, "The restore has not completed, so there is nothing to undo")
	case s.Undone:
		return fault.Errorf(fault.Conflict, "The restore is undone already")
	case !s.Keeps():
		return fault.Errorf(fault.Conflict, "What the restore has replaced is not kept any more; restore its safety backup instead")
	}
	return nil
}

// RequestUndo decides on an [Undo]. When it is under way already it changes
// nothing.
func RequestUndo(s State) (events.Event, error) {
	if s.Undoing {
		return nil, events.ErrNoChange
	}
	if err := Undoable(s); err != nil {
		return nil, err
	}
	return events.RestoreUndoRequested{}, nil
}

// EndUndo decides on the end of an undo; e is RestoreUndone or RestoreUndoFailed.
func EndUndo(s State, e events.Event) (events.Event, error) {
	if !s.Undoing {
		return nil, events.ErrNoChange
	}
	return e, nil
}

// Drop decides that what was replaced goes away, from when on nothing can be undone. The
// caller knows that its time has come.
func Drop(s State) (events.Event, error) {
	if !s.Keeps() || s.Undoing {
		return nil, events.ErrNoChange
	}
	return events.RestoreOldDropped{}, nil
}
