package s3

import (
	"crypto/md5" //nolint:gosec // what providers check
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/holdfast-dev/holdfast/destination/internal/parts"
)

// etags computes the entity tag that providers without checksums give to an
// object: the MD5 sum of a single part, else that of the sums of all parts and
// their number.
type etags struct {
	mu   sync.Mutex
	sums [][md5.Size]byte
}

// add notes the MD5 sum of a part and returns it as Content-MD5.
func (e *etags) add(p *parts.Part) string {
	sum := p.MD5()
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.sums) < p.Number {
		e.sums = append(e.sums, [md5.Size]byte{})
	}
	e.sums[p.Number-1] = sum
	return base64.StdEncoding.EncodeToString(sum[:])
}

// of returns the tag of an object that was stored as one part or as several.
func (e *etags) of(multipart bool) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !multipart {
		return hex.EncodeToString(e.sums[0][:])
	}
	h := md5.New() //nolint:gosec // as above
	for _, s := range e.sums {
		h.Write(s[:])
	}
	return fmt.Sprintf("%x-%d", h.Sum(nil), len(e.sums))
}
