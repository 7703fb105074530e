package portable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/parts"
)

// Put implements [destination.Store].
func (s *Store) Put(ctx context.Context, key string, r io.Reader, e destination.Estimate) (destination.Info, error) {
	info, err := s.put(ctx, key, r, e)
	if err != nil {
		return destination.Info{}, s.Explain("put", key, err)
	}
	return info, nil
}

func (s *Store) put(ctx context.Context, key string, r io.Reader, e destination.Estimate) (destination.Info, error) {
	if err := destination.CheckKey(key); err != nil {
		return destination.Info{}, err
	}
	p := put{Driver: s.d, tags: Tags{Mark: s.mark, Upload: uuid.NewString()}}
	var err error
	if p.upload, err = s.d.NewUpload(s.Name(key), p.tags, e); err != nil {
		return destination.Info{}, err
	}
	if _, err := s.d.Stat(ctx, s.Name(key)); err == nil {
		return destination.Info{}, destination.ErrExist // before hours of work
	} else if !s.d.IsMissing(err) {
		return destination.Info{}, err
	}
	sums, err := p.send(ctx, r)
	if err == nil {
		err = p.confirm(ctx, sums)
	}
	if err != nil {
		return destination.Info{}, err
	}
	return destination.Info{Key: key, Path: s.d.Path(s.Name(key)), Size: sums.Size, SHA256: sums.SHA256, Mark: s.mark}, nil
}

// put is one call of Put.
type put struct {
	Driver
	upload Upload
	tags   Tags
}

// cleanupTimeout is how long cleaning up may take when the caller has given up already.
const cleanupTimeout = 30 * time.Second

func cleanup(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	return f(ctx)
}

func (p put) send(ctx context.Context, r io.Reader) (parts.Sums, error) {
	sums, err := p.upload.Send(ctx, r)
	if unknown, ok := errors.AsType[unknownOutcomeError](err); ok {
		err = p.resolveOutcome(ctx, unknown.error)
	}
	if err != nil {
		return sums, errors.Join(err, cleanup(ctx, p.upload.Abort))
	}
	return sums, nil
}

// unknownOutcomeError is marked by [Unknown].
type unknownOutcomeError struct{ error }

func (e unknownOutcomeError) Unwrap() error { return e.error }

// Unknown marks an error, which may be nil, of the call that completes an object:
// the object may be there nevertheless, since the answer to a call that succeeded
// can be lost.
func Unknown(err error) error {
	if err == nil {
		return nil
	}
	return unknownOutcomeError{err}
}

// resolveOutcome finds out what has become of an object whose last call failed.
func (p put) resolveOutcome(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	o, ferr := p.upload.Find(ctx)
	switch {
	case ferr == nil && o.Upload == p.tags.Upload:
		return nil
	case ferr == nil && p.IsTaken(err):
		return destination.ErrExist
	}
	return err
}

// confirm compares what the provider has stored with what was sent, and removes the
// object when they differ.
func (p put) confirm(ctx context.Context, sums parts.Sums) error {
	o, err := p.statOwn(ctx)
	if err == nil && o.Size != sums.Size {
		err = fmt.Errorf("%w: %d bytes were sent, it has %d", destination.ErrCorrupt, sums.Size, o.Size)
	}
	if err == nil {
		err = p.upload.Confirm(ctx, o, sums)
	}
	if err != nil && !errors.Is(err, destination.ErrExist) && ctx.Err() == nil {
		err = errors.Join(err, cleanup(ctx, func(ctx context.Context) error { return p.upload.Remove(ctx, o) }))
	}
	return err
}

// statTries is how often the provider is asked for an object that it does not know.
const statTries = 3

// statOwn returns what the provider says of the object. It returns ErrExist when
// somebody else has replaced it.
func (p put) statOwn(ctx context.Context) (Object, error) {
	var replaced bool
	for range statTries {
		o, err := p.upload.Find(ctx)
		if err != nil && !p.IsMissing(err) {
			return Object{}, fmt.Errorf("ask for what was stored: %w", err)
		}
		if err == nil && o.Upload == p.tags.Upload {
			return o, nil
		}
		replaced = err == nil && o.Upload != ""
	}
	if replaced {
		return Object{}, destination.ErrExist
	}
	return Object{}, fmt.Errorf("%w: the upload was answered with success, but the object is not there", destination.ErrCorrupt)
}
