package events

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

var (
	idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
	idLength   = idEncoding.EncodedLen(idBytes)
)

const idBytes = 16

// NewID returns a random id of an aggregate: its kind, "-" and 26 characters of
// base32.
func NewID(kind string) string {
	b := make([]byte, idBytes)
	_, _ = rand.Read(b) // never fails
	return kind + "-" + idEncoding.EncodeToString(b)
}

// IDFor returns the id that belongs to some texts, such as an API key and an
// Idempotency-Key: the same for ever.
func IDFor(kind string, of ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(of, "\x00")))
	return kind + "-" + idEncoding.EncodeToString(sum[:idBytes])
}

// ValidID reports whether id could be that of an aggregate of a kind.
func ValidID(kind, id string) bool {
	rest, ok := strings.CutPrefix(id, kind+"-")
	return ok && len(rest) == idLength && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// ShortID returns the ten characters behind the kind of an id, for people.
func ShortID(id string) string {
	_, rest, _ := strings.Cut(id, "-")
	return rest[:10]
}
