package events

import "time"

// BackupRequested says that a backup was accepted. The time of its envelope is
// the createdAt of the backup.
type BackupRequested struct {
	Pool        string `json:"pool"`
	Type        string `json:"type"` // full, database, storage, functions or config
	Destination string `json:"destination"`
	Encrypt     bool   `json:"encrypt"`
	Origin      string `json:"origin"`              // manual, schedule, safety or adopted
	Under       string `json:"under,omitempty"`     // restore in whose slot it runs; of a safety backup
	BodyHash    string `json:"body_hash,omitempty"` // of the request, lower-case hex SHA-256; tells a repeat from a misuse of an Idempotency-Key
}

// EventType implements [Event].
func (BackupRequested) EventType() string { return "backup.requested.v1" }

// BackupRejected says that a request was refused. It is not the end: the same
// Idempotency-Key may decide differently later.
type BackupRejected struct {
	Code    string `json:"code"`    // a word of the REST contract's error codes
	Message string `json:"message"` // a sentence for people
}

// EventType implements [Event].
func (BackupRejected) EventType() string { return "backup.rejected.v1" }

// BackupStarted says that a worker took the backup.
type BackupStarted struct {
	Attempt int    `json:"attempt"` // 1 for the first; a higher one fences a lower one
	Worker  string `json:"worker"`
	Token   string `json:"token,omitempty"` // random; part of the mark of what the attempt stores, by which it is known again
}

// EventType implements [Event].
func (BackupStarted) EventType() string { return "backup.started.v1" }

// BackupCompleted says that the archive is stored and that the destination has
// confirmed its size and checksum.
type BackupCompleted struct {
	Attempt int    `json:"attempt"`
	Pool    string `json:"pool"` // whose workers can read the object
	Key     string `json:"key"`  // object key at the destination
	Path    string `json:"path"` // for people: s3://bucket/key, or an absolute path
	Size    int64  `json:"size"` // stored bytes
	SHA256  string `json:"sha256"`
	// ManifestSHA256 is the sum of the archive's manifest, which vouches for the bytes of
	// each part: with it a part is proved without the rest. Events of earlier versions
	// have none.
	ManifestSHA256 string    `json:"manifest_sha256,omitempty"`
	Encrypted      bool      `json:"encrypted"`
	Parts          []Part    `json:"parts"`
	Warnings       []Warning `json:"warnings,omitempty"`
}

// EventType implements [Event].
func (BackupCompleted) EventType() string { return "backup.completed.v1" }

// Part is a part of a project as it is in an archive.
type Part struct {
	Name    string `json:"name"`    // database, storage, functions or config
	Bytes   int64  `json:"bytes"`   // content, uncompressed
	Entries int64  `json:"entries"` // files, folders, links and pieces
}

// Warning is one kind of thing that did not go as it should but did not spoil
// the whole.
type Warning struct {
	Code     string `json:"code"` // a stable word
	Count    int    `json:"count"`
	Sentence string `json:"sentence"` // for people
}

// Limits of the warnings in one event; the archive has them all.
const (
	MaxWarnings     = 50
	MaxWarningBytes = 16 << 10
)

// LimitWarnings cuts ws to what an event may carry.
func LimitWarnings(ws []Warning) []Warning {
	var out []Warning
	left := MaxWarningBytes
	for _, w := range ws {
		left -= len(w.Sentence) + len(w.Code) + 48
		if len(out) == MaxWarnings || left < 0 {
			break
		}
		out = append(out, w)
	}
	return out
}

// BackupFailed says that an attempt ended without an archive.
type BackupFailed struct {
	Attempt   int    `json:"attempt"`
	Reason    Reason `json:"reason"`
	Message   string `json:"message"`   // a sentence for people
	Retryable bool   `json:"retryable"` // another attempt might succeed
	Final     bool   `json:"final"`     // there will be no other attempt
}

// EventType implements [Event].
func (BackupFailed) EventType() string { return "backup.failed.v1" }

// BackupCancelRequested says that someone wants the backup to stop. It may come before
// [BackupRequested], whose command then lies in a queue.
type BackupCancelRequested struct{}

// EventType implements [Event].
func (BackupCancelRequested) EventType() string { return "backup.cancel_requested.v1" }

// BackupCancelled says that the backup stopped because it was asked to.
type BackupCancelled struct {
	Attempt int `json:"attempt"` // 0 if it had not started
}

// EventType implements [Event].
func (BackupCancelled) EventType() string { return "backup.cancelled.v1" }

// BackupVerified says what a later look at the stored archive found.
type BackupVerified struct {
	OK      bool   `json:"ok"`
	Message string `json:"message,omitempty"` // for people: what is wrong, or what could not be looked at
}

// Whole reports whether the whole archive was looked at and found good.
func (e BackupVerified) Whole() bool { return e.OK && e.Message == "" }

// EventType implements [Event].
func (BackupVerified) EventType() string { return "backup.verified.v1" }

// BackupAdopted says that an archive which the log did not know was found at its
// destination, with what stood beside it. It is the first event of its backup, and
// the backup is complete with it.
type BackupAdopted struct {
	Pool        string          `json:"pool"`
	Type        string          `json:"type"`
	Destination string          `json:"destination"`
	CreatedAt   time.Time       `json:"created_at"` // when the backup was once requested
	EndedAt     time.Time       `json:"ended_at"`   // when the archive was stored
	Completed   BackupCompleted `json:"completed"`
	BodyHash    string          `json:"body_hash,omitempty"` // as in BackupRequested
}

// EventType implements [Event].
func (BackupAdopted) EventType() string { return "backup.adopted.v1" }

// BackupHeld says that the backup must not be deleted until it is released.
type BackupHeld struct{}

// EventType implements [Event].
func (BackupHeld) EventType() string { return "backup.held.v1" }

// BackupReleased ends a hold.
type BackupReleased struct{}

// EventType implements [Event].
func (BackupReleased) EventType() string { return "backup.released.v1" }

// BackupDeleteRequested says that the backup is going away. From here on it
// cannot be downloaded or restored.
type BackupDeleteRequested struct{}

// EventType implements [Event].
func (BackupDeleteRequested) EventType() string { return "backup.delete_requested.v1" }

// BackupDeleteFailed says that the object could not be deleted. The backup
// stays listed.
type BackupDeleteFailed struct {
	Reason  Reason `json:"reason"`
	Message string `json:"message"`
}

// EventType implements [Event].
func (BackupDeleteFailed) EventType() string { return "backup.delete_failed.v1" }

// BackupDeleted says that the object is gone.
type BackupDeleted struct{}

// EventType implements [Event].
func (BackupDeleted) EventType() string { return "backup.deleted.v1" }

// Reason is a stable word for why something failed. Programs may act on it.
type Reason string

// Reasons.
const (
	ReasonSource      Reason = "source"      // the project could not be read or written
	ReasonDestination Reason = "destination" // the archive could not be stored
	ReasonNoSpace     Reason = "no_space"    // the destination is full
	ReasonStalled     Reason = "stalled"     // nothing moved for the stall timeout
	ReasonConfig      Reason = "config"      // the worker's configuration does not fit the request
	ReasonRefused     Reason = "refused"     // a safety check stood in the way of a restore
	ReasonArchive     Reason = "archive"     // the archive is damaged, gone or cannot be decrypted
	ReasonCancelled   Reason = "cancelled"   // somebody asked for the end
	ReasonCrashed     Reason = "crashed"     // every attempt died without saying why
	ReasonInternal    Reason = "internal"    // a fault of Holdfast
)
