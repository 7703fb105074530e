package backup

import (
	"fmt"
	"time"

	"github.com/holdfast-dev/holdfast/events"
)

// NewID returns a random id: "backup-" and 26 characters of base32.
func NewID() string { return events.NewID(events.KindBackup) }

// IDFor returns the id that belongs to an Idempotency-Key of a client: the same
// for ever.
func IDFor(apiKey, project, idempotencyKey string) string {
	return events.IDFor(events.KindBackup, apiKey, "backup", project, idempotencyKey)
}

// ValidID reports whether id could be a backup's.
func ValidID(id string) bool { return events.ValidID(events.KindBackup, id) }

// Short returns the first ten characters of an id, for people.
func Short(id string) string { return events.ShortID(id) }

// ObjectKey returns where an attempt stores its archive. No two attempts of any
// two backups share a key.
func ObjectKey(project, typ, id string, created time.Time, attempt int, encrypted bool) string {
	name := fmt.Sprintf("%s-%s-%s", created.UTC().Format(time.DateOnly), typ, Short(id))
	if attempt > 1 {
		name += fmt.Sprintf("-a%d", attempt)
	}
	name += ".tar.gz"
	if encrypted {
		name += ".age"
	}
	return project + "/" + name
}
