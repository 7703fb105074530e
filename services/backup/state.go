package backup

import (
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast/events"
)

// State is what the events of a backup add up to. The zero State is that of a
// backup that nobody has asked for.
type State struct {
	Request   events.BackupRequested
	Created   time.Time // when it was requested; zero if it was not
	Attempt   int       // the newest
	Tokens    []string  // of the attempts, from the first on; empty for those that had none
	Running   bool      // the newest attempt has no result yet
	Completed *events.BackupCompleted
	Failed    *events.BackupFailed // for good
	Ended     time.Time            // when it completed or failed for good
	Rejected  *events.BackupRejected
	Verified  events.Revision // of the newest look at the archive; 0 if there was none
	// Unverified says that the checksum was read from a sidecar at the destination, and
	// that nobody has looked at the whole archive since.
	Unverified bool
	Held       bool
	Cancel     bool // somebody wants it to stop
	Deleting   bool
	Deleted    bool
	Undeleted  *events.BackupDeleteFailed // the newest attempt to delete failed
	Revision   events.Revision            // of the newest event
}

// Exists reports whether the backup was accepted.
func (s State) Exists() bool { return !s.Created.IsZero() }

// Terminal reports whether no attempt will follow.
func (s State) Terminal() bool { return s.Completed != nil || s.Failed != nil || s.Deleted }

// Stored reports whether an attempt that the log knows has stored the object that
// carries a mark of an installation. The log may have lost the attempt that did: then
// the object is another's.
func (s State) Stored(o Object, installation, mark string) bool {
	if o.Attempt < 1 || o.Attempt > len(s.Tokens) {
		return false
	}
	token := s.Tokens[o.Attempt-1]
	return token != "" && mark == Mark(installation, token)
}

// Apply implements [events.State].
func (s State) Apply(env events.Envelope) State {
	s.Revision = env.Revision
	switch e := env.Event.(type) {
	case events.BackupRequested:
		s.Request, s.Created, s.Rejected = e, env.Time, nil
	case events.BackupAdopted:
		s.Request = events.BackupRequested{Pool: e.Pool, Type: e.Type, Destination: e.Destination, Encrypt: e.Completed.Encrypted, Origin: OriginAdopted, BodyHash: e.BodyHash}
		s.Created, s.Ended, s.Attempt, s.Completed, s.Rejected, s.Unverified = e.CreatedAt, e.EndedAt, e.Completed.Attempt, &e.Completed, nil, true
	case events.BackupVerified:
		s.Verified, s.Unverified = env.Revision, s.Unverified && !e.Whole()
	case events.BackupRejected:
		s.Rejected, s.Cancel = &e, false
	case events.BackupStarted:
		s.Attempt, s.Running = e.Attempt, true
		s.Tokens = append(slices.Clone(s.Tokens), make([]string, max(0, e.Attempt-len(s.Tokens)))...)
		if e.Attempt > 0 {
			s.Tokens[e.Attempt-1] = e.Token
		}
	case events.BackupCompleted:
		s.Running, s.Completed, s.Ended = false, &e, env.Time
	case events.BackupFailed:
		s.Running = false
		if e.Final {
			s.Failed, s.Ended = &e, env.Time
		}
	case events.BackupCancelRequested:
		s.Cancel = true
	case events.BackupCancelled:
		s.Running, s.Ended = false, env.Time
		s.Failed = &events.BackupFailed{Attempt: e.Attempt, Reason: events.ReasonCancelled, Message: "Cancelled", Final: true}
	case events.BackupHeld:
		s.Held = true
	case events.BackupReleased:
		s.Held = false
	case events.BackupDeleteRequested:
		s.Deleting, s.Undeleted = true, nil
	case events.BackupDeleteFailed:
		s.Deleting, s.Undeleted = false, &e
	case events.BackupDeleted:
		s.Deleting, s.Deleted = false, true
	}
	return s
}
