// Package portable is what the destinations that keep objects in a cloud have in
// common. A [Driver] speaks the API of one provider; a [Store] makes a
// [destination.Store] of it: it checks keys and puts the prefix before them, finds
// out what became of an upload whose answer was lost, confirms what was stored,
// and gives errors their sentinels and advice.
package portable

import (
	"context"
	"io"
	"time"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/parts"
	"github.com/holdfast-dev/holdfast/destination/internal/retry"
)

// Driver is one provider. Names are those of whole objects, prefix included. A
// driver repeats its own calls by the policy that it was opened with, and returns
// the errors of the provider as they are.
type Driver interface {
	// Path returns an object's address for people.
	Path(name string) string
	// Stat returns what the provider knows of an object.
	Stat(ctx context.Context, name string) (Object, error)
	// WhyMissing returns what stands behind an error that IsMissing has recognized:
	// perhaps the bucket is not there. The answer may be err.
	WhyMissing(ctx context.Context, err error) error
	// OpenRange opens length bytes from offset on, or all that follow if length is
	// negative, in one try. A range behind the end is empty.
	OpenRange(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error)
	// Page returns the next objects whose names begin with prefix, in the order of
	// the bytes of their names, and what to ask for the following page with: "" at
	// the end, as for the first.
	Page(ctx context.Context, prefix, token string) (objects []Object, next string, err error)
	// Delete removes an object, with all versions that the provider lists. That it
	// was not there is no error. It returns [Locked] for one that is kept.
	Delete(ctx context.Context, name string) error
	// Sign returns a URL with which anybody can read the object for a while.
	Sign(ctx context.Context, name, fileName string, valid time.Duration) (string, error)
	// NewUpload prepares the upload of an object. It returns ErrTooLarge for an
	// estimate beyond what the provider keeps. It does not connect.
	NewUpload(name string, tags Tags, e destination.Estimate) (Upload, error)

	// Retryable says whether a call that failed may be repeated.
	Retryable(err error) retry.Decision
	// IsMissing reports whether there is no such object.
	IsMissing(err error) bool
	// IsTaken reports whether the condition was refused that the name is free.
	IsTaken(err error) bool
	// Classify returns the sentinel of an error, or nil, and what to do, or nothing.
	Classify(err error) (advice string, kind error)
}

// Upload is an object on its way. One goroutine uses it.
type Upload interface {
	// Send sends what r yields and completes the object, on the condition that the
	// name is free where the provider knows such a condition. An error after which
	// the object may be complete is marked by [Unknown].
	Send(ctx context.Context, r io.Reader) (parts.Sums, error)
	// Find returns what the provider says of the object under the name; where others
	// may have put theirs over it, it looks for the own one among all versions.
	Find(ctx context.Context) (Object, error)
	// Confirm compares the object with what was sent. It returns ErrCorrupt when they
	// differ, and ErrExist, having removed the object, when that was put beside
	// another one.
	Confirm(ctx context.Context, o Object, sums parts.Sums) error
	// Abort frees what a failed Send has left at the provider.
	Abort(ctx context.Context) error
	// Remove removes the object, but nobody else's. o is the zero Object when it was
	// not found.
	Remove(ctx context.Context, o Object) error
}

// Object is what a provider says of one.
type Object struct {
	Name    string
	Size    int64 // bytes
	ModTime time.Time
	Tags
	Version  string // names this object and no later one of the same name; may be empty
	Checksum string // in the words of the driver; may be empty
}

// Tags are the metadata that every object carries.
type Tags struct {
	Mark   string // of the installation
	Upload string // of the Put that stored it
}

// info is the [destination.Info] of an object.
func (s *Store) info(key string, o Object) destination.Info {
	return destination.Info{Key: key, Path: s.d.Path(o.Name), Size: o.Size, Mark: o.Mark, ModTime: o.ModTime}
}
