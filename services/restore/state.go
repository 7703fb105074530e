package restore

import (
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast/events"
)

// State is what the events of a restore add up to. The zero State is that of a
// restore that nobody has asked for.
type State struct {
	Request   events.RestoreRequested
	Created   time.Time // when it was requested; zero if it was not
	Attempt   int       // the newest
	Running   bool      // the newest attempt has no result yet
	Stages    []string  // that were completed
	Completed *events.RestoreCompleted
	Failed    *events.RestoreFailed // for good
	Ended     time.Time             // when it completed or failed for good
	Rejected  *events.RestoreRejected
	Cancel    bool // somebody wants it to stop
	Undoing   bool
	Undone    bool
	NotUndone *events.RestoreUndoFailed // the newest attempt to undo failed
	Dropped   bool                      // what was replaced is given up, and goes away
	Revision  events.Revision           // of the newest event
}

// Exists reports whether the restore was accepted.
func (s State) Exists() bool { return !s.Created.IsZero() }

// Terminal reports whether no attempt will follow.
func (s State) Terminal() bool { return s.Completed != nil || s.Failed != nil }

// Done reports whether a stage was completed.
func (s State) Done(stage string) bool { return slices.Contains(s.Stages, stage) }

// Keeps reports whether something that was replaced is kept.
func (s State) Keeps() bool {
	return s.Completed != nil && s.Completed.KeptUntil != nil && !s.Dropped
}

// KeepFor returns how long what was replaced is kept, as the restore has promised it; 0 if
// the clock was set while it did.
func (s State) KeepFor() time.Duration {
	if !s.Keeps() {
		return 0
	}
	return max(0, s.Completed.KeptUntil.Sub(s.Ended))
}

// Apply implements [events.State].
func (s State) Apply(env events.Envelope) State {
	s.Revision = env.Revision
	switch e := env.Event.(type) {
	case events.RestoreRequested:
		s.Request, s.Created, s.Rejected = e, env.Time, nil
	case events.RestoreRejected:
		s.Rejected, s.Cancel = &e, false
	case events.RestoreStarted:
		s.Attempt, s.Running = e.Attempt, true
	case events.RestoreStageCompleted:
		if !s.Done(e.Stage) {
			s.Stages = append(slices.Clone(s.Stages), e.Stage)
		}
	case events.RestoreCompleted:
		s.Running, s.Completed, s.Ended = false, &e, env.Time
	case events.RestoreFailed:
		s.Running = false
		if e.Final {
			s.Failed, s.Ended = &e, env.Time
		}
	case events.RestoreCancelRequested:
		s.Cancel = true
	case events.RestoreCancelled:
		s.Running, s.Ended = false, env.Time
		s.Failed = &events.RestoreFailed{Attempt: e.Attempt, Reason: events.ReasonCancelled, Message: "Cancelled", State: Unchanged, Final: true}
	case events.RestoreUndoRequested:
		s.Undoing, s.NotUndone = true, nil
	case events.RestoreUndone:
		s.Undoing, s.Undone = false, true
	case events.RestoreUndoFailed:
		s.Undoing, s.NotUndone = false, &e
	case events.RestoreOldDropped:
		s.Dropped = true
	}
	return s
}
