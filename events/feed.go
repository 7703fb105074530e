package events

import "context"

// Feed is the whole log in one order, for read models.
type Feed interface {
	// State returns which log this is and where it ends.
	State(ctx context.Context) (LogState, error)

	// Follow calls f with every event after the given revision, in order, in
	// batches of what is there, for ever. It returns the error of f, of the log,
	// or of ctx. Follow again from the last revision that f has taken. An event that
	// cannot be decoded is a [Broken]. A revision that is missing ends it with a
	// [*DamageError]; follow again from the last of the gap to pass over it.
	Follow(ctx context.Context, after Revision, f func([]Envelope) error) error
}

// LogState is the identity and the end of a log.
type LogState struct {
	Identity string   `json:"identity"` // differs when the log was made anew
	Last     Revision `json:"last"`     // of the newest event
}
