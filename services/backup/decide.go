package backup

import (
	"fmt"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
)

// MaxAttempts is how often a backup is tried.
const MaxAttempts = 3

// Accept decides on a [Create] that the project's worker can do. The same request
// again changes nothing.
func Accept(s State, c Create) (events.Event, error) {
	if s.Exists() {
		return nil, Repeat(s, c.BodyHash)
	}
	if s.Cancel {
		return nil, fault.Errorf(fault.Conflict, "The backup was cancelled before a worker took it")
	}
	return events.BackupRequested{
		Pool: c.Pool, Type: c.Type, Destination: c.Destination, Encrypt: c.Encrypt, Origin: c.Origin, Under: c.Under, BodyHash: c.BodyHash,
	}, nil
}

// Repeat returns ErrNoChange when a request with this body is the one that made
// the backup, else IdempotencyMismatch.
func Repeat(s State, bodyHash string) error {
	if s.Request.BodyHash != bodyHash {
		return fault.Errorf(fault.IdempotencyMismatch, "This Idempotency-Key was used for another request")
	}
	return events.ErrNoChange
}

// Reject decides that a request is refused. A backup that exists is not touched.
func Reject(s State, code fault.Code, message string) (events.Event, error) {
	if s.Exists() {
		return nil, events.ErrNoChange
	}
	return events.BackupRejected{Code: string(code), Message: events.LimitText(message)}, nil
}

// Start decides on the next attempt of a backup whose request is in hand. When all
// attempts have died without a result it is the end of the backup instead. A state
// without that request is an old one, [events.ErrBehind]. The token goes into the
// mark of what the attempt stores, see [Mark].
func Start(s State, worker, token string) (events.Event, error) {
	switch {
	case !s.Exists():
		return nil, events.ErrBehind
	case s.Terminal():
		return nil, events.ErrNoChange
	case s.Cancel:
		return events.BackupCancelled{Attempt: s.Attempt}, nil
	case s.Attempt >= MaxAttempts:
		return events.BackupFailed{
			Attempt: s.Attempt, Reason: events.ReasonCrashed, Final: true,
			Message: fmt.Sprintf("The worker died in each of %d attempts; its log and the log of the system say why", s.Attempt),
		}, nil
	}
	return events.BackupStarted{Attempt: s.Attempt + 1, Worker: worker, Token: token}, nil
}

// RequestCancel decides on a [Cancel]. When it was asked for already it changes nothing.
func RequestCancel(s State, c Cancel) (events.Event, error) {
	if err := Cancellable(s); err != nil && (s.Exists() || !c.Queued) {
		return nil, err
	}
	if s.Cancel || !s.Exists() && s.Rejected != nil && s.Revision > c.Known { // it was refused since
		return nil, events.ErrNoChange
	}
	return events.BackupCancelRequested{}, nil
}

// Cancellable returns nil when the backup can still be cancelled, and otherwise why not.
func Cancellable(s State) error {
	switch {
	case !s.Exists() || s.Deleted:
		return fault.Errorf(fault.BackupNotFound, "Backup not found")
	case s.Terminal():
		return fault.Errorf(fault.Conflict, "The backup has ended already")
	}
	return nil
}

// EndCancel decides that a backup which was asked to stop has stopped.
func EndCancel(s State) (events.Event, error) {
	if !s.Cancel || Cancellable(s) != nil {
		return nil, events.ErrNoChange
	}
	return events.BackupCancelled{Attempt: s.Attempt}, nil
}

// Complete decides on the good end of an attempt. When the log has that end already,
// because an earlier append succeeded without saying so, nothing changes.
func Complete(s State, e events.BackupCompleted) (events.Event, error) {
	if s.Completed != nil && s.Completed.Attempt == e.Attempt {
		return nil, events.ErrNoChange
	}
	if err := s.Mine(e.Attempt); err != nil {
		return nil, err
	}
	return e, nil
}

// Fail decides on the bad end of an attempt: whether another follows.
func Fail(s State, e events.BackupFailed) (events.Event, error) {
	if err := s.Mine(e.Attempt); err != nil {
		return nil, err
	}
	e.Message = events.LimitText(e.Message)
	e.Final = !e.Retryable || e.Attempt >= MaxAttempts
	return e, nil
}

// Mine returns ErrFenced unless the attempt is the running one.
func (s State) Mine(attempt int) error {
	if s.Attempt != attempt || !s.Running {
		return events.ErrFenced
	}
	return nil
}

// RequestDelete decides on a [Delete]. When the deletion is under way already it
// changes nothing.
func RequestDelete(s State) (events.Event, error) {
	if err := Deletable(s); err != nil {
		return nil, err
	}
	if s.Deleting {
		return nil, events.ErrNoChange
	}
	return events.BackupDeleteRequested{}, nil
}

// Deletable returns nil when the backup may be deleted, and otherwise why not.
func Deletable(s State) error {
	switch {
	case !s.Exists() || s.Deleted:
		return fault.Errorf(fault.BackupNotFound, "Backup not found")
	case !s.Terminal():
		return fault.Errorf(fault.Conflict, "The backup is still running; it can be deleted when it has ended, or was cancelled")
	case s.Held:
		return fault.Errorf(fault.Conflict, "The backup is held; release it before you delete it")
	}
	return nil
}

// EndDelete decides on the end of a deletion; e is BackupDeleted or
// BackupDeleteFailed.
func EndDelete(s State, e events.Event) (events.Event, error) {
	if !s.Deleting {
		return nil, events.ErrNoChange
	}
	return e, nil
}

// Verified decides on the result of a [Verify]. It is of no use when the archive
// has gone away meanwhile.
func Verified(s State, e events.BackupVerified) (events.Event, error) {
	if Readable(s) != nil {
		return nil, events.ErrNoChange
	}
	return e, nil
}

// Adopt decides on an archive that was found at its destination. A backup that the
// log knows is not touched, a deleted one as well.
func Adopt(s State, e events.BackupAdopted) (events.Event, error) {
	if s.Exists() {
		return nil, events.ErrNoChange
	}
	return e, nil
}

// Readable returns nil when the archive may be downloaded or restored, and
// otherwise why not.
func Readable(s State) error {
	switch {
	case !s.Exists() || s.Deleted:
		return fault.Errorf(fault.BackupNotFound, "Backup not found")
	case s.Deleting:
		return fault.Errorf(fault.Conflict, "The backup is being deleted")
	case s.Failed != nil:
		return fault.Errorf(fault.Conflict, "The backup failed, so there is nothing to read")
	case s.Completed == nil:
		return fault.Errorf(fault.Conflict, "The backup has not completed yet")
	}
	return nil
}
