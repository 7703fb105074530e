package events

import (
	"context"
	"errors"
	"time"
)

// Handler reacts to events. It may be given an event more than once and must
// not mind; it may take as long as it needs. A nil error means that the event
// is dealt with, any other that it shall come again, unless it is [ErrFenced].
type Handler interface {
	Handle(ctx context.Context, e Envelope) error
}

// HandlerFunc adapts a function to a [Handler].
type HandlerFunc func(ctx context.Context, e Envelope) error

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, e Envelope) error { return f(ctx, e) }

// ErrFenced is returned by a handler whose work another worker has taken over.
// The delivery belongs to that one, so it is neither acknowledged nor refused.
var ErrFenced = errors.New("events: taken over by another worker")

type retryError struct {
	error
	after time.Duration
}

func (e retryError) Unwrap() error { return e.error }

// RetryAfter returns err with the wish to see the delivery again after d.
func RetryAfter(err error, d time.Duration) error { return retryError{err, d} }

// RetryDelay returns the wish that [RetryAfter] put into err.
func RetryDelay(err error) (time.Duration, bool) {
	if r, ok := errors.AsType[retryError](err); ok {
		return r.after, true
	}
	return 0, false
}

// Command asks for something. Its route becomes its subject:
// holdfast.cmd.<service>.<pool>.<project>.<verb>.<id>.
type Command interface {
	CommandRoute() Route
}

// Route is the address of a command.
type Route struct {
	Service string    // who decides: "backup"
	Pool    string    // which workers can reach the project
	Verb    string    // "create", "delete", …
	About   Aggregate // what the command is about; a poisoned command is rejected there
}

// Progress is how far a running backup or restore has come. It is not history: only
// the newest one is kept, for an hour.
type Progress struct {
	Phase   string `json:"phase"`   // the part that is worked on, or for example "upload", "safety backup" or "swap"
	Bytes   int64  `json:"bytes"`   // of a backup, read from the project so far; of a restore, read from the archive
	Entries int64  `json:"entries"` // of a backup, written to the archive so far
}
