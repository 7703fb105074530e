package destination

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Probe stores a small object, reads it back and deletes it, and returns what went
// wrong. An error that wraps [ErrLocked] comes from the deletion alone: the
// destination keeps what it has for a while.
func Probe(ctx context.Context, s Store) error {
	const text = "Holdfast tries whether it can use this destination.\n"
	key := "holdfast-check/" + strings.ToLower(rand.Text())
	if _, err := s.Put(ctx, key, strings.NewReader(text), Estimate(len(text))); err != nil {
		return err
	}
	return errors.Join(readBack(ctx, s, key, text), s.Delete(ctx, key))
}

func readBack(ctx context.Context, s Store, key, text string) error {
	r, err := s.Open(ctx, key, 0, -1)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // a reader
	b, err := io.ReadAll(r)
	if err == nil && string(b) != text {
		err = fmt.Errorf("%w: what was read back of %s is not what was written", ErrCorrupt, key)
	}
	return err
}
