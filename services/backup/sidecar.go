package backup

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast/events"
)

// Sidecar is the object that describes an archive, in JSON, from which a catalog
// can be rebuilt when the log is lost.
type Sidecar struct {
	Format    int       `json:"format"`
	ID        string    `json:"id"`
	Project   string    `json:"project"`
	Name      string    `json:"name"` // of the project, for people
	Type      string    `json:"type"`
	CreatedAt time.Time `json:"created_at"`
	BodyHash  string    `json:"body_hash,omitempty"` // of the request, so that its Idempotency-Key can be repeated after an adoption
	events.BackupCompleted
}

// SidecarFormat is the version of [Sidecar].
const SidecarFormat = 1

var (
	sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)
	bodyHash  = regexp.MustCompile(`^[0-9A-Za-z:_-]{0,128}$`)
)

// clockSkew is how far ahead another machine's clock may be.
const clockSkew = 24 * time.Hour

// CheckSidecar returns what is wrong with the sidecar of an object, since anybody may
// have written it who may write to the destination. Its project, type, date, attempt
// and encryption must be those of the object's key.
func CheckSidecar(s Sidecar, o Object, now time.Time) error {
	bad := func(format string, args ...any) error { return fmt.Errorf(format, args...) }
	switch {
	case s.Format != SidecarFormat:
		return bad("its format is %d, this version knows %d", s.Format, SidecarFormat)
	case !ValidID(s.ID) || !slices.Contains(Types(), s.Type):
		return bad("it has no valid id and type")
	case s.Project != o.Project:
		return bad("it says that the project is %q, the object lies below %s", s.Project, o.Project)
	case events.CheckTime("created_at", s.CreatedAt) != nil || s.CreatedAt.After(now.Add(clockSkew)):
		return bad("created_at cannot be %s", s.CreatedAt.UTC().Format(time.RFC3339))
	case s.Key != o.Archive || ObjectKey(s.Project, s.Type, s.ID, s.CreatedAt, s.Attempt, s.Encrypted) != o.Archive:
		return bad("it describes another archive")
	case s.Size < 1 || s.Check() != nil:
		return bad("a number in it is outside of its limits")
	case !sha256Hex.MatchString(s.SHA256) || s.ManifestSHA256 != "" && !sha256Hex.MatchString(s.ManifestSHA256):
		return bad("it has no valid checksum")
	case !bodyHash.MatchString(s.BodyHash):
		return bad("body_hash is not one")
	case len(events.LimitWarnings(s.Warnings)) != len(s.Warnings):
		return bad("it has more warnings than an event may carry")
	}
	return checkParts(s)
}

// checkParts returns what is wrong with the parts of a sidecar: without any, a restore
// would bring nothing back and call that a success.
func checkParts(s Sidecar) error {
	if len(s.Parts) == 0 {
		return errors.New("it lists no parts")
	}
	seen := map[string]bool{}
	for _, p := range s.Parts {
		switch {
		case p.Name == Full || !slices.Contains(Types(), p.Name) || seen[p.Name]:
			return fmt.Errorf("%q is not a part, or it is there twice", p.Name)
		case s.Type != Full && p.Name != s.Type:
			return fmt.Errorf("a backup of the type %s holds no part %s", s.Type, p.Name)
		case p.Entries < 1:
			return fmt.Errorf("the part %s has no entries, not even its own folder", p.Name)
		}
		seen[p.Name] = true
	}
	return nil
}
