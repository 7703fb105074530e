package events

import "time"

// KindRestore is the kind of restores.
const KindRestore = "restore"

// RestoreAggregate returns the aggregate of a restore. project is the one that is
// changed, which need not be the one of the backup.
func RestoreAggregate(project, id string) Aggregate {
	return Aggregate{Project: project, Kind: KindRestore, ID: id}
}

// RestoreRequested says that a restore was accepted.
type RestoreRequested struct {
	Pool          string   `json:"pool"` // whose workers can reach the project that is changed
	Backup        string   `json:"backup"`
	BackupProject string   `json:"backup_project"`
	Parts         []string `json:"parts"` // in the order of an archive
	Force         bool     `json:"force,omitempty"`
	Safety        bool     `json:"safety"`            // back up first what will be replaced
	DryRun        bool     `json:"dry_run,omitempty"` // change nothing
	BodyHash      string   `json:"body_hash,omitempty"`
}

// EventType implements [Event].
func (RestoreRequested) EventType() string { return "restore.requested.v1" }

// RestoreRejected says that a request was refused. It is not the end: the same
// Idempotency-Key may decide differently later.
type RestoreRejected struct {
	Code    string `json:"code"`    // a word of the REST contract's error codes
	Message string `json:"message"` // a sentence for people
}

// EventType implements [Event].
func (RestoreRejected) EventType() string { return "restore.rejected.v1" }

// RestoreStarted says that a worker took the restore.
type RestoreStarted struct {
	Attempt int    `json:"attempt"` // 1 for the first; a higher one fences a lower one
	Worker  string `json:"worker"`
}

// EventType implements [Event].
func (RestoreStarted) EventType() string { return "restore.started.v1" }

// RestoreStageCompleted says how far a restore has come. From the stage
// "ready" on it only goes forward.
type RestoreStageCompleted struct {
	Attempt int    `json:"attempt"`
	Stage   string `json:"stage"`
}

// EventType implements [Event].
func (RestoreStageCompleted) EventType() string { return "restore.stage_completed.v1" }

// RestoreCheck is one thing that was looked at before a restore.
type RestoreCheck struct {
	Name     string `json:"name"` // a stable word
	OK       bool   `json:"ok"`
	Forced   bool   `json:"forced,omitempty"` // not OK, but overridden
	Sentence string `json:"sentence"`         // for people
}

// Limits of the checks in one event; those that failed come first when there is no room
// for all.
const (
	MaxChecks     = 200
	MaxCheckBytes = 64 << 10
)

// LimitChecks cuts checks to what an event may carry. The order stays.
func LimitChecks(checks []RestoreCheck) []RestoreCheck {
	left, room := MaxChecks, MaxCheckBytes
	keep := make([]bool, len(checks))
	for _, ok := range []bool{false, true} {
		for i, c := range checks {
			size := len(c.Name) + min(len(c.Sentence), MaxText) + 64
			if c.OK == ok && left > 0 && room >= size {
				keep[i], left, room = true, left-1, room-size
			}
		}
	}
	var out []RestoreCheck
	for i, c := range checks {
		if keep[i] {
			c.Sentence = LimitText(c.Sentence)
			out = append(out, c)
		}
	}
	return out
}

// RestorePlan is what a dry run finds out.
type RestorePlan struct {
	Replaces []string       `json:"replaces"` // a sentence each
	Checks   []RestoreCheck `json:"checks"`
	Bytes    int64          `json:"bytes"`   // content of the parts
	Seconds  int64          `json:"seconds"` // estimated
}

// RestoreCompleted says that the project is as it was at the backup, apart from
// what the warnings name.
type RestoreCompleted struct {
	Attempt   int          `json:"attempt"`
	Warnings  []Warning    `json:"warnings,omitempty"`
	Plan      *RestorePlan `json:"plan,omitempty"`      // of a dry run, which has restored nothing
	KeptUntil *time.Time   `json:"kept_until,omitzero"` // until then it can be undone
}

// EventType implements [Event].
func (RestoreCompleted) EventType() string { return "restore.completed.v1" }

// RestoreFailed says that an attempt has not restored the project.
type RestoreFailed struct {
	Attempt   int            `json:"attempt"`
	Reason    Reason         `json:"reason"`
	Message   string         `json:"message"` // a sentence for people
	State     string         `json:"state"`   // of the project: "unchanged" or "partly restored"
	Checks    []RestoreCheck `json:"checks,omitempty"`
	Retryable bool           `json:"retryable"` // another attempt might succeed
	Final     bool           `json:"final"`     // there will be no other attempt
}

// EventType implements [Event].
func (RestoreFailed) EventType() string { return "restore.failed.v1" }

// RestoreCancelRequested says that someone wants the restore to stop. It may come before
// [RestoreRequested], whose command then lies in a queue.
type RestoreCancelRequested struct{}

// EventType implements [Event].
func (RestoreCancelRequested) EventType() string { return "restore.cancel_requested.v1" }

// RestoreCancelled says that the restore stopped because it was asked to. The project is
// unchanged.
type RestoreCancelled struct {
	Attempt int `json:"attempt"` // 0 if it had not started
}

// EventType implements [Event].
func (RestoreCancelled) EventType() string { return "restore.cancelled.v1" }

// RestoreUndoRequested says that what was replaced shall come back.
type RestoreUndoRequested struct{}

// EventType implements [Event].
func (RestoreUndoRequested) EventType() string { return "restore.undo_requested.v1" }

// RestoreUndone says that what was replaced is back.
type RestoreUndone struct{}

// EventType implements [Event].
func (RestoreUndone) EventType() string { return "restore.undone.v1" }

// RestoreUndoFailed says that what was replaced could not be brought back.
type RestoreUndoFailed struct {
	Reason  Reason `json:"reason,omitempty"`
	Message string `json:"message"` // a sentence for people
}

// EventType implements [Event].
func (RestoreUndoFailed) EventType() string { return "restore.undo_failed.v1" }

// RestoreOldDropped says that what was replaced is gone, so nothing can be undone.
type RestoreOldDropped struct{}

// EventType implements [Event].
func (RestoreOldDropped) EventType() string { return "restore.old_dropped.v1" }
