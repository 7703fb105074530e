package backup

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"regexp"
	"strings"
	"time"
)

const idPrefix = "backup-"

var (
	encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
	idShape  = regexp.MustCompile(`^backup-[a-z2-7]{26}$`)
)

// NewID returns a random id: "backup-" and 26 characters of base32.
func NewID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return idPrefix + encoding.EncodeToString(b)
}

// IDFor returns the id that belongs to an Idempotency-Key of a client: the same
// for ever.
func IDFor(apiKey, project, idempotencyKey string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{apiKey, "backup", project, idempotencyKey}, "\x00")))
	return idPrefix + encoding.EncodeToString(sum[:16])
}

// ValidID reports whether id could be a backup's.
func ValidID(id string) bool { return idShape.MatchString(id) }

// Short returns the first ten characters of an id, for people.
func Short(id string) string { return strings.TrimPrefix(id, idPrefix)[:10] }

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

// SidecarKey returns the key of the object that describes an archive, from which
// a catalog can be rebuilt when the log is lost.
func SidecarKey(objectKey string) string { return objectKey + ".json" }
