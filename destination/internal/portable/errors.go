package portable

import (
	"context"
	"errors"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/retry"
)

// wrap returns err as the error of a call about a key, with what classify makes of
// it: a sentinel, or nil, and advice, or nothing. It is asked only for errors that
// have no sentinel yet.
func wrap(op, key string, err error, classify func(error) (advice string, kind error)) error {
	if lock, ok := errors.AsType[*destination.Error](err); ok && lock.Op == "" { // of Locked
		return &destination.Error{Op: op, Key: key, Kind: lock.Kind, Advice: lock.Advice, Err: lock.Err}
	}
	for _, own := range []error{destination.ErrExist, destination.ErrNotExist, destination.ErrKey, destination.ErrTooLarge, destination.ErrCorrupt} {
		if errors.Is(err, own) {
			return &destination.Error{Op: op, Key: key, Kind: own, Err: err}
		}
	}
	advice, kind := classify(err)
	return &destination.Error{Op: op, Key: key, Kind: kind, Advice: advice, Err: err}
}

// Locked returns the error of [Driver].Delete for an object that is kept, and why.
func Locked(why string, err error) error {
	return &destination.Error{Kind: destination.ErrLocked, Advice: why, Err: err}
}

// ClassifyNetwork is the classification of errors that are not the answer of a provider.
func ClassifyNetwork(host string, err error) (advice string, kind error) {
	switch {
	case retry.IsUntrusted(err):
		return "the certificate of " + host + " is not trusted; if it is your own authority's, name it in ca_file", destination.ErrUnreachable
	case !errors.Is(err, context.Canceled) && retry.IsNetwork(err):
		return host + " does not answer; check endpoint and the network", destination.ErrUnreachable
	}
	return "", nil
}
