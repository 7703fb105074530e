package events

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	// ErrConflict is returned by [Log.Append] when another writer appended to
	// the aggregate first. Read it again and decide again.
	ErrConflict = errors.New("events: aggregate has changed")
	// ErrUnavailable is returned when the log cannot be reached or does not
	// confirm in time. An append that failed with it may have happened.
	ErrUnavailable = errors.New("events: log unavailable")
	// ErrBehind is returned when a read shows less of an aggregate than is known to
	// be in the log. It wraps ErrUnavailable: trying again later helps.
	ErrBehind = fmt.Errorf("%w: what was read is older than what is known", ErrUnavailable)
	// ErrNoChange is returned by a decision that has nothing to append, and
	// passed on by [Update].
	ErrNoChange = errors.New("events: nothing to append")
	// ErrNoEvent is returned by [Log.Last] for an aggregate without events.
	ErrNoEvent = errors.New("events: aggregate has no events")
)

// Revision is a position in the log. The first event has revision 1; zero is
// the position before it.
type Revision uint64

// String returns the revision in decimal.
func (r Revision) String() string { return strconv.FormatUint(uint64(r), 10) }

// System is the project token of aggregates that belong to no project.
const System = "_system"

// Kinds of aggregates.
const (
	KindProject = "project" // ID is always "main"
	KindBackup  = "backup"
	KindSlot    = "slot" // ID is always "main": one slot per project
)

// Aggregate names the thing an event is about. Its three tokens become part of
// a subject, see [Aggregate.Validate].
type Aggregate struct {
	Project string // project ID, or System
	Kind    string // KindBackup, …
	ID      string
}

// String returns the subject tokens of the aggregate, such as
// "my-project.backup.backup-abc".
func (a Aggregate) String() string { return a.Project + "." + a.Kind + "." + a.ID }

var (
	projectID = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	token     = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)
)

// ValidProjectID reports whether id matches [a-z0-9][a-z0-9_-]{0,62}.
func ValidProjectID(id string) bool { return projectID.MatchString(id) }

// Validate returns an error if a token of the aggregate could not stand in a
// subject.
func (a Aggregate) Validate() error {
	if a.Project != System && !ValidProjectID(a.Project) {
		return fmt.Errorf("project id %q is not [a-z0-9][a-z0-9_-]{0,62}", a.Project)
	}
	if !token.MatchString(a.Kind) || !token.MatchString(a.ID) {
		return fmt.Errorf("aggregate %s: kind and id must match [a-z0-9_-]{1,64}", a)
	}
	return nil
}

// ParseAggregate is the inverse of [Aggregate.String].
func ParseAggregate(s string) (Aggregate, error) {
	t := strings.Split(s, ".")
	if len(t) != 3 {
		return Aggregate{}, fmt.Errorf("aggregate %q: want project.kind.id", s)
	}
	a := Aggregate{Project: t[0], Kind: t[1], ID: t[2]}
	return a, a.Validate()
}

// Event is a fact. Implementations are plain structs named in the past tense.
type Event interface {
	// EventType returns kind, name and version, such as "backup.completed.v1".
	EventType() string
}

// Cause says why an event happened.
type Cause struct {
	CorrelationID string // ID of the request that started it all
	CausationID   string // ID of the event or command that caused this one
	Actor         string // who asked: "key:<id>", "worker:<name>", "system"
}

// Envelope is an event together with what the log knows about it.
type Envelope struct {
	ID        string    // UUIDv7, new for every call of Append
	Aggregate Aggregate // what the event is about
	Revision  Revision  // position in the log
	Time      time.Time // when the writer appended it, UTC
	Cause
	Event Event // an Unknown if this program is older than the writer
}

// Log is an append-only record of events. Goroutines may share it.
type Log interface {
	// Append records e if the last event of a has revision expected, where zero
	// means that a has no events yet. Otherwise it returns ErrConflict. A lost
	// acknowledgement is no conflict: Append then finds its own event.
	Append(ctx context.Context, a Aggregate, expected Revision, e Event, c Cause) (Envelope, error)

	// Read yields the events of a after the given revision, oldest first. It
	// stops after the first error. It ends without an error only when the log itself
	// has said that there are no more: an answer that does not come or breaks off is
	// ErrUnavailable.
	Read(ctx context.Context, a Aggregate, after Revision) iter.Seq2[Envelope, error]

	// Last returns the newest event of a, or ErrNoEvent. If that cannot be decoded, it
	// is the newest that can, with the revision of the newest; a [Broken] if none can.
	Last(ctx context.Context, a Aggregate) (Envelope, error)
}

// Name returns the middle part of an event type: "completed" of
// "backup.completed.v1". It is the last token of the subject.
func Name(eventType string) string {
	t := strings.Split(eventType, ".")
	if len(t) != 3 {
		return ""
	}
	return t[1]
}
