package destination

import (
	"errors"
	"strings"
)

var (
	// ErrExist is returned by Put for a key that is taken.
	ErrExist = errors.New("destination: object exists")
	// ErrNotExist is returned for a key without an object.
	ErrNotExist = errors.New("destination: no such object")
	// ErrNoSpace is returned by Put when the destination is full, or would be
	// fuller than it may.
	ErrNoSpace = errors.New("destination: no space left")
	// ErrTooLarge is returned by Put, before it reads anything, for an estimate
	// beyond what the destination can keep in one object, and later when the object
	// grows beyond that.
	ErrTooLarge = errors.New("destination: object too large")
	// ErrDenied is returned when the destination refuses the credentials or the
	// permissions do not suffice.
	ErrDenied = errors.New("destination: access denied")
	// ErrNoBucket is returned when the bucket, or the container, does not exist.
	ErrNoBucket = errors.New("destination: no such bucket")
	// ErrUnreachable is returned when the destination does not answer, or when who
	// answers cannot prove to be it.
	ErrUnreachable = errors.New("destination: out of reach")
	// ErrLocked is returned by Delete for an object that the destination keeps
	// because of a retention period or a legal hold.
	ErrLocked = errors.New("destination: object is locked")
	// ErrCorrupt is returned by Put when what the destination has stored is not
	// what was sent. The object is gone again.
	ErrCorrupt = errors.New("destination: stored object differs from what was sent")
	// ErrKey is returned for a key that [CheckKey] refuses.
	ErrKey = errors.New("destination: bad key")
)

// Error is what a driver says of a call that failed.
type Error struct {
	Op     string // such as put
	Key    string
	Kind   error  // a sentinel of this package, or nil
	Advice string // what to do, or what is in the way; lower case, no full stop; may be empty
	Err    error
}

// Error implements the interface error.
func (e *Error) Error() string {
	words := []string{strings.TrimSpace(e.Op + " " + e.Key)}
	if e.Kind != nil && !errors.Is(e.Err, e.Kind) {
		words = append(words, e.Kind.Error())
	}
	if e.Advice != "" {
		words = append(words, e.Advice)
	}
	if e.Err != nil {
		words = append(words, e.Err.Error())
	}
	return strings.Join(words, ": ")
}

// Unwrap returns the sentinel and the cause.
func (e *Error) Unwrap() []error {
	var all []error
	for _, err := range []error{e.Kind, e.Err} {
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}
