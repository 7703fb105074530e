package worker

import (
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/guard"
	"github.com/holdfast-dev/holdfast/project"
)

// storeError is an error of a destination.
type storeError struct{ err error }

func (e *storeError) Error() string { return "destination: " + e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// misfitError says that the configuration does not fit the request any more.
type misfitError struct{ sentence string }

func (e *misfitError) Error() string { return e.sentence }

func (*attempt) misfit(format string, args ...any) error {
	return &misfitError{fmt.Sprintf(format, args...)}
}

// diagnose makes a fact for people out of an error.
func diagnose(err error) events.BackupFailed {
	var store *storeError
	var misfit *misfitError
	var source *project.Error
	switch {
	case errors.Is(err, guard.ErrStalled):
		return events.BackupFailed{Reason: events.ReasonStalled, Retryable: true, Message: sentence(err.Error())}
	case errors.As(err, &store):
		return diagnoseStore(store.err)
	case errors.As(err, &misfit):
		return events.BackupFailed{Reason: events.ReasonConfig, Message: misfit.sentence}
	case errors.As(err, &source):
		return events.BackupFailed{Reason: events.ReasonSource, Message: sentence(source.Sentence), Retryable: source.Retry}
	}
	return events.BackupFailed{Reason: events.ReasonInternal, Message: "An internal error; the log of the worker says more", Retryable: true}
}

func diagnoseStore(err error) events.BackupFailed {
	advice := ""
	if e, ok := errors.AsType[*destination.Error](err); ok && e.Advice != "" {
		advice = ": " + e.Advice
	}
	switch {
	case errors.Is(err, destination.ErrNoSpace):
		return events.BackupFailed{Reason: events.ReasonNoSpace, Message: "Insufficient disk space at the destination"}
	case errors.Is(err, destination.ErrDenied) && advice == "":
		return events.BackupFailed{Reason: events.ReasonDestination, Message: "The destination refused access; check its permissions or credentials"}
	case errors.Is(err, destination.ErrDenied):
		return events.BackupFailed{Reason: events.ReasonDestination, Message: "The destination refused access" + advice}
	case errors.Is(err, destination.ErrNoBucket):
		return events.BackupFailed{Reason: events.ReasonDestination, Message: "The bucket of the destination does not exist" + advice}
	case errors.Is(err, destination.ErrTooLarge):
		return events.BackupFailed{Reason: events.ReasonDestination, Message: "The archive is larger than the destination can keep in one object"}
	case errors.Is(err, destination.ErrUnreachable):
		return events.BackupFailed{Reason: events.ReasonDestination, Message: "The destination is out of reach" + advice, Retryable: true}
	case errors.Is(err, destination.ErrCorrupt):
		return events.BackupFailed{Reason: events.ReasonDestination, Message: "The destination has stored something else than what was sent; it was removed again", Retryable: true}
	case errors.Is(err, destination.ErrExist):
		return events.BackupFailed{Reason: events.ReasonDestination, Message: "The destination already has an archive of this name that the event log does not know; run `holdfastd adopt` first, which records what the log has lost", Retryable: true}
	}
	return events.BackupFailed{Reason: events.ReasonDestination, Message: "The archive could not be stored at the destination; the log of the worker says why", Retryable: true}
}

// sentence takes the full stop off, as a message stands behind "Backup failed: ".
func sentence(s string) string { return strings.TrimSuffix(s, ".") }
