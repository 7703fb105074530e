package restore

import "github.com/holdfast-dev/holdfast/events"

// Service is the name of the service in routes of commands.
const Service = "restore"

// Verbs of the commands.
const (
	VerbCreate = "create"
	VerbUndo   = "undo"
	VerbCancel = "cancel"
)

// Queue is the queue of requested restores and dry runs.
const Queue = "restore"

// Stages of a restore, in their order.
const (
	Built = "built" // everything lies beside what it will replace, and is proved
	Safe  = "safe"  // what will be replaced is backed up, or nobody wanted that
	Ready = "ready" // the swaps begin
	Back  = "back"  // a swap has failed, so all of them are turned back
)

// States of a project after a failed restore.
const (
	Unchanged = "unchanged"
	Partly    = "partly restored"
)

// AliveSubject returns the subject of queries whether a pool has a worker for restores;
// there is an answer if it has.
func AliveSubject(pool string) string { return "pool." + pool + ".restores" }

// NewID returns a random id: "restore-" and 26 characters of base32.
func NewID() string { return events.NewID(events.KindRestore) }

// IDFor returns the id that belongs to an Idempotency-Key of a client: the same
// for ever.
func IDFor(apiKey, backup, idempotencyKey string) string {
	return events.IDFor(events.KindRestore, apiKey, "restore", backup, idempotencyKey)
}

// ValidID reports whether id could be a restore's.
func ValidID(id string) bool { return events.ValidID(events.KindRestore, id) }

// SafetyID returns the id of the backup of what a restore replaces.
func SafetyID(id string) string { return events.IDFor(events.KindBackup, "safety", id) }

// Create asks for a restore.
type Create struct {
	ID            string   `json:"id"`
	Project       string   `json:"project"` // that is changed
	Pool          string   `json:"pool"`
	Backup        string   `json:"backup"`
	BackupProject string   `json:"backup_project"`
	Parts         []string `json:"parts"`
	Force         bool     `json:"force"`
	Safety        bool     `json:"safety"`
	DryRun        bool     `json:"dry_run"`
	BodyHash      string   `json:"body_hash"`

	BackupKnown events.Revision `json:"backup_known,omitempty"` // an event of the backup; who decides reads at least so far
}

// CommandRoute implements [events.Command].
func (c Create) CommandRoute() events.Route {
	return events.Route{Service: Service, Pool: c.Pool, Verb: VerbCreate, About: events.RestoreAggregate(c.Project, c.ID)}
}

// Cancel asks for the end of a restore that has not begun to swap.
type Cancel struct {
	ID      string          `json:"id"`
	Project string          `json:"project"`
	Pool    string          `json:"pool"`             // whose worker decides: the restore's, or another if that has none
	Known   events.Revision `json:"known,omitempty"`  // as in Undo
	Queued  bool            `json:"queued,omitempty"` // the command that asks for the restore lies in the queue
}

// CommandRoute implements [events.Command].
func (c Cancel) CommandRoute() events.Route {
	return events.Route{Service: Service, Pool: c.Pool, Verb: VerbCancel, About: events.RestoreAggregate(c.Project, c.ID)}
}

// Undo asks for what a restore has replaced.
type Undo struct {
	ID      string          `json:"id"`
	Project string          `json:"project"`
	Pool    string          `json:"pool"`
	Known   events.Revision `json:"known,omitempty"` // an event of the restore; who decides reads at least so far
}

// CommandRoute implements [events.Command].
func (c Undo) CommandRoute() events.Route {
	return events.Route{Service: Service, Pool: c.Pool, Verb: VerbUndo, About: events.RestoreAggregate(c.Project, c.ID)}
}
