package events

import (
	"errors"
	"fmt"
	"slices"
)

// KindLog is the kind of the aggregate that is about the log itself.
const KindLog = "log"

// LogAggregate returns the aggregate of the log itself.
func LogAggregate() Aggregate { return Aggregate{Project: System, Kind: KindLog, ID: "main"} }

// Gap is a run of revisions that a log has lost. No log ever removes an event, so
// revisions are dense.
type Gap struct {
	First Revision `json:"first"`
	Last  Revision `json:"last"`
}

// ErrDamaged is wrapped by every [DamageError]. It wraps ErrUnavailable: once the
// operator has decided, trying again helps.
var ErrDamaged = fmt.Errorf("%w: the event log is damaged", ErrUnavailable)

// DamageError says what a log has lost. Nothing is appended to a damaged log until the
// operator accepts the loss, see [LogAccepted].
type DamageError struct {
	Gap
	Replaced    string `json:"replaced,omitempty"`    // identity of the log that had the revisions of the gap, if that was known to be longer or is another one
	Destination string `json:"destination,omitempty"` // that holds archives which the log does not know; without a gap
}

// Error says what is lost and the ways out of it.
func (e *DamageError) Error() string {
	if e.Destination != "" {
		return fmt.Sprintf("%s. Run `holdfastd adopt --destination %s`, or `holdfastd log accept --reason …` if they are somebody else's. Until then nothing is written", e.Loss(), e.Destination)
	}
	return e.Loss() + ". Bring the data of the NATS server back from a copy; or run `holdfastd adopt` for each destination and then `holdfastd log accept --reason …`. Until then nothing is written"
}

// Loss says what is lost.
func (e *DamageError) Loss() string {
	switch {
	case e.Destination != "":
		return fmt.Sprintf("the event log does not know some archives at the destination %s: it is new, or older than they are", e.Destination)
	case e.Replaced != "":
		return fmt.Sprintf("the event log has lost revision %d and what follows, up to revision %d, which was known before", e.First, e.Last)
	case e.First == e.Last:
		return fmt.Sprintf("the event log has lost revision %d", e.First)
	}
	return fmt.Sprintf("the event log has lost the revisions %d to %d", e.First, e.Last)
}

// Unwrap returns ErrDamaged.
func (*DamageError) Unwrap() error { return ErrDamaged }

// LogAccepted says that the operator accepts what the log has lost.
type LogAccepted struct {
	Reason   string     `json:"reason"`             // why, for people
	Missing  []Gap      `json:"missing,omitempty"`  // revisions that are gone, in order
	Replaced []LogState `json:"replaced,omitempty"` // what was known of the log before
}

// EventType implements [Event].
func (LogAccepted) EventType() string { return "log.accepted.v1" }

// Acceptance is all that operators have accepted of a log.
type Acceptance struct {
	Accepted []LogAccepted
	Revision Revision // of the newest
}

// Apply implements [State].
func (a Acceptance) Apply(env Envelope) Acceptance {
	if e, ok := env.Event.(LogAccepted); ok {
		return Acceptance{append(slices.Clip(a.Accepted), e), env.Revision}
	}
	return a
}

// Covers reports whether damage was accepted.
func (a Acceptance) Covers(d *DamageError) bool {
	for _, e := range a.Accepted {
		if d.Destination != "" {
			return true
		}
		for _, g := range e.Missing {
			if d.Replaced == "" && g.First <= d.First && d.Last <= g.Last {
				return true
			}
		}
		for _, s := range e.Replaced {
			if d.Replaced == s.Identity && d.Last <= s.Last {
				return true
			}
		}
	}
	return false
}

// Accept decides that the operator accepts damage, with all gaps that the log has now.
func Accept(a Acceptance, d *DamageError, gaps []Gap, reason string) (Event, error) {
	if a.Covers(d) {
		return nil, ErrNoChange
	}
	if reason == "" {
		return nil, errors.New("a reason is needed, for those who read the log later")
	}
	e := LogAccepted{Reason: reason, Missing: gaps}
	switch {
	case d.Replaced != "":
		e.Replaced = []LogState{{Identity: d.Replaced, Last: d.Last}}
	case d.Destination == "":
		e.Missing = append(e.Missing, d.Gap)
	}
	return e, nil
}
