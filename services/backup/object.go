package backup

import (
	"regexp"
	"strconv"
	"strings"
)

// sidecarSuffix is what the key of a sidecar has behind that of its archive.
const sidecarSuffix = ".json"

// SidecarKey returns the key of the sidecar of an archive.
func SidecarKey(objectKey string) string { return objectKey + sidecarSuffix }

// Mark returns the mark of what an attempt stores: which installation it belongs to,
// and the token of the attempt.
func Mark(installation, token string) string { return installation + "/" + token }

// Object is what a key says of an object.
type Object struct {
	Archive string // the key of the archive: the object's own, or that which the sidecar describes
	Sidecar bool
	Project string
	Short   string // short id of the backup
	Attempt int
}

var objectKey = regexp.MustCompile(`^([a-z0-9][a-z0-9_-]{0,62})/\d{4}-\d{2}-\d{2}-(?:full|database|storage|functions|config)-([a-z2-7]{10})(?:-a([1-9]\d?))?\.tar\.gz(?:\.age)?$`)

// ParseKey reads a key that [ObjectKey] or [SidecarKey] has made, or returns false
// for any other.
func ParseKey(key string) (Object, bool) {
	o := Object{Attempt: 1}
	o.Archive, o.Sidecar = strings.CutSuffix(key, sidecarSuffix)
	m := objectKey.FindStringSubmatch(o.Archive)
	if m == nil {
		return Object{}, false
	}
	o.Project, o.Short = m[1], m[2]
	if m[3] != "" {
		n, err := strconv.Atoi(m[3])
		if err != nil || n < 2 {
			return Object{}, false
		}
		o.Attempt = n
	}
	return o, true
}
