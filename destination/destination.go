// Package destination is the door to the places where archives are kept. Each
// driver is a package below it; package destinationtest holds them to the same
// promises.
//
// # Vocabulary
//
// A store keeps objects under keys, such as
// "my-project/2026-01-19-full-abcdefghij.tar.gz". An object is there whole or not
// at all, and is never changed. An upload that has neither completed nor been
// aborted is unfinished: nobody sees it, but some providers charge for it. A mark
// says by which installation of Holdfast an object was stored.
//
// # Errors
//
// Drivers return an [*Error], which wraps one of the sentinels of this package
// where it can, and says what to do. Errors without a sentinel, and
// [ErrUnreachable], may go away by trying again. An error of the reader that is
// given to Put is passed on, and so is that of a context.
package destination

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// Estimate is how many bytes an object may have, or 0 if nobody knows. Drivers
// choose the size of their upload parts by it. The object may be larger, by a
// tenth at least; with 0 there is room for 150 GiB.
type Estimate int64

// Info is what a destination says of an object.
type Info struct {
	Key     string
	Path    string // for people, such as s3://bucket/key or an absolute path
	Size    int64  // bytes
	SHA256  string // lower-case hex; empty from List, and from Stat where it is not known without reading
	Mark    string // of who stored it; empty from List, and where there is none
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

	// List yields the objects whose keys begin with prefix, in the order of the
	// bytes of their keys. It stops after the first error. Keys that CheckKey
	// refuses are left out: they are somebody else's.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]

	// Delete removes an object, with all its versions where the destination keeps
	// some. That it was not there is no error. It returns ErrLocked, and the object
	// is still there, where the destination does not let go of it.
	Delete(ctx context.Context, key string) error
}

// Upload is one that has not ended.
type Upload struct {
	Key     string
	ID      string // what the destination calls it
	Started time.Time
}

// Uploader is a [Store] at which uploads can be left unfinished by a crash.
type Uploader interface {
	// Unfinished yields the uploads to keys that begin with prefix, in any order,
	// the running ones as well. It stops after the first error.
	Unfinished(ctx context.Context, prefix string) iter.Seq2[Upload, error]

	// Abort ends an upload and frees what it has stored. That it has ended
	// meanwhile is no error, and an object that it became stays.
	Abort(ctx context.Context, u Upload) error
}

// Marker is a [Store] that can put another mark on what it stores.
type Marker interface {
	// WithMark returns the same store with another mark for the objects of its Put.
	// It is closed with the store that it came from.
	WithMark(mark string) Store
}

// WithMark returns s with another mark for the objects of its Put, or s itself where
// it has no marks.
func WithMark(s Store, mark string) Store {
	if m, ok := s.(Marker); ok {
		return m.WithMark(mark)
	}
	return s
}

// Signer is a [Store] whose objects can be fetched from the destination itself.
type Signer interface {
	// Sign returns a URL with which anybody can read the object for a while; the
	// browser shall save it under a name. The object need not exist.
	Sign(ctx context.Context, key, name string, valid time.Duration) (string, error)
}

// CheckKey returns ErrKey unless key is a plain relative path of at most 512
// bytes, 255 in each component, that no destination could take for something
// else.
func CheckKey(key string) error {
	if key == "" || len(key) > 512 {
		return fmt.Errorf("%w: %d bytes", ErrKey, len(key))
	}
	for c := range strings.SplitSeq(key, "/") {
		if c == "" || len(c) > 255 || strings.HasPrefix(c, ".") || strings.Trim(c, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
			return fmt.Errorf("%w: %q", ErrKey, key)
		}
	}
	return nil
}
