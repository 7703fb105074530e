package backup

import (
	"time"

	"github.com/holdfast-dev/holdfast/events"
)

// Service is the name of the service in routes of commands.
const Service = "backup"

// Verbs of the commands.
const (
	VerbCreate = "create"
	VerbDelete = "delete"
	VerbVerify = "verify"
	VerbCancel = "cancel"
)

// Queues of requested backups.
const (
	QueueBackups = "backup" // shared by all projects of a pool, in turn
	QueueSafety  = "safety" // of what a restore is about to replace: beside the others, each under the slot of its restore
)

// Types of backups. A type other than Full names the one part that is backed up.
const (
	Full      = "full"
	Database  = "database"
	Storage   = "storage"
	Functions = "functions"
	Config    = "config"
)

// Types returns all types.
func Types() []string { return []string{Full, Database, Storage, Functions, Config} }

// Origins of backups.
const (
	OriginManual = "manual" // somebody asked for it
	OriginSafety = "safety" // of what a restore is about to replace
	// OriginAdopted is that of a backup which was found at its destination.
	OriginAdopted = "adopted"
)

// Create asks for a backup.
type Create struct {
	ID          string `json:"id"`
	Project     string `json:"project"`
	Pool        string `json:"pool"`
	Type        string `json:"type"`
	Destination string `json:"destination"`
	Encrypt     bool   `json:"encrypt"`
	Origin      string `json:"origin"`
	Under       string `json:"under,omitempty"` // restore in whose slot a safety backup runs
	BodyHash    string `json:"body_hash"`
}

// CommandRoute implements [events.Command].
func (c Create) CommandRoute() events.Route {
	return events.Route{Service: Service, Pool: c.Pool, Verb: VerbCreate, About: events.BackupAggregate(c.Project, c.ID)}
}

// Delete asks for the end of a backup.
type Delete struct {
	ID      string          `json:"id"`
	Project string          `json:"project"`
	Pool    string          `json:"pool"`
	Known   events.Revision `json:"known,omitempty"` // an event of the backup; who decides reads at least so far
}

// CommandRoute implements [events.Command].
func (c Delete) CommandRoute() events.Route {
	return events.Route{Service: Service, Pool: c.Pool, Verb: VerbDelete, About: events.BackupAggregate(c.Project, c.ID)}
}

// Verify asks for a look at the stored archive.
type Verify struct {
	ID      string          `json:"id"`
	Project string          `json:"project"`
	Pool    string          `json:"pool"`
	Known   events.Revision `json:"known,omitempty"` // as in Delete
}

// CommandRoute implements [events.Command].
func (c Verify) CommandRoute() events.Route {
	return events.Route{Service: Service, Pool: c.Pool, Verb: VerbVerify, About: events.BackupAggregate(c.Project, c.ID)}
}

// Cancel asks for the end of a backup that has not ended.
type Cancel struct {
	ID      string          `json:"id"`
	Project string          `json:"project"`
	Pool    string          `json:"pool"`             // whose worker decides: the backup's, or another if that has none
	Known   events.Revision `json:"known,omitempty"`  // as in Delete
	Queued  bool            `json:"queued,omitempty"` // the command that asks for the backup lies in the queue
}

// CommandRoute implements [events.Command].
func (c Cancel) CommandRoute() events.Route {
	return events.Route{Service: Service, Pool: c.Pool, Verb: VerbCancel, About: events.BackupAggregate(c.Project, c.ID)}
}

// Alive asks whether a pool has a worker; there is an answer if it has.
type Alive struct{}

// AliveSubject returns the subject of Alive queries to a pool.
func AliveSubject(pool string) string { return "pool." + pool + ".alive" }

// ArchiveRead asks the workers of a pool for a range of a stored object. The
// answer is the bytes, fewer than asked for at the object's end only.
type ArchiveRead struct {
	Destination string `json:"destination"`
	Key         string `json:"key"`
	Offset      int64  `json:"offset"`
	Length      int64  `json:"length"` // at most MaxRead
}

// MaxRead is the largest range that one query may ask for. It lies well below
// the largest message of a NATS server.
const MaxRead = 512 << 10

// ArchiveSubject returns the subject of ArchiveRead queries to a pool.
func ArchiveSubject(pool string) string { return "archive." + pool + ".read" }

// AnyArchiveSubject returns the subject of ArchiveRead queries to all workers that have
// a destination of this name, for archives of a pool that has no worker any more.
func AnyArchiveSubject(destination string) string { return "archive.any." + destination + ".read" }

// ArchiveSign asks the workers of a pool for a URL with which anybody can read a
// stored object. The answer is empty where the destination cannot sign one.
type ArchiveSign struct {
	Destination string        `json:"destination"`
	Key         string        `json:"key"`
	Name        string        `json:"name"` // under which a browser saves it
	Valid       time.Duration `json:"valid"`
}

// SignSubject returns the subject of ArchiveSign queries to a pool.
func SignSubject(pool string) string { return "archive." + pool + ".sign" }
