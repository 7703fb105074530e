// Package destination is the door to the places where archives are kept. Each
// driver is a package below it; package destinationtest holds them to the same
// promises.
//
// # Vocabulary
//
// A store keeps objects under keys, such as
// "my-project/2026-01-19-full-abcdefghij.tar.gz". An object is there whole or not
// at all, and is never changed.
//
// # Errors
//
// [ErrExist], [ErrNotExist], [ErrNoSpace], [ErrDenied] and [ErrKey] are wrapped by
// the errors of every driver. All others may go away by trying again.
package destination

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

var (
	// ErrExist is returned by Put for a key that is taken.
	ErrExist = errors.New("destination: object exists")
	// ErrNotExist is returned for a key without an object.
	ErrNotExist = errors.New("destination: no such object")
	// ErrNoSpace is returned by Put when the destination is full, or would be
	// fuller than it may.
	ErrNoSpace = errors.New("destination: no space left")
	// ErrDenied is returned when the destination refuses the credentials or the
	// permissions do not suffice.
	ErrDenied = errors.New("destination: access denied")
	// ErrKey is returned for a key that [CheckKey] refuses.
	ErrKey = errors.New("destination: bad key")
)

// Estimate is how many bytes an object may have, or 0 if nobody knows. Drivers
// choose the size of their upload parts by it. The object may be larger.
type Estimate int64

// Info is what a destination says of an object.
type Info struct {
	Key     string
	Path    string // for people, such as s3://bucket/key or an absolute path
	Size    int64  // bytes
	SHA256  string // lower-case hex; empty from List, and from Stat where it is not known without reading
	ModTime time.Time
}

// Store keeps objects. Goroutines may share it.
type Store interface {
	// Put stores what r yields under a new key, whole or not at all, and returns
	// what the destination then reports, checked against what was sent. It
	// returns ErrExist for a key that is taken, and never changes that object.
	// It reads r to its end unless it fails.
	Put(ctx context.Context, key string, r io.Reader, e Estimate) (Info, error)

	// Open reads length bytes from offset on, or to the end if length is
	// negative. A range beyond the end is cut. The caller closes.
	Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)

	// Stat returns what the destination knows, or ErrNotExist.
	Stat(ctx context.Context, key string) (Info, error)

	// List yields the objects whose keys begin with prefix, in any order. It
	// stops after the first error.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]

	// Delete removes an object. That it was not there is no error.
	Delete(ctx context.Context, key string) error
}

// CheckKey returns ErrKey unless key is a plain relative path of at most 512
// bytes that no destination could take for something else.
func CheckKey(key string) error {
	if key == "" || len(key) > 512 {
		return fmt.Errorf("%w: %d bytes", ErrKey, len(key))
	}
	for c := range strings.SplitSeq(key, "/") {
		if c == "" || strings.HasPrefix(c, ".") || strings.Trim(c, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
			return fmt.Errorf("%w: %q", ErrKey, key)
		}
	}
	return nil
}
