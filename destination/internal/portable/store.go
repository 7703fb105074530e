package portable

import (
	"context"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/resume"
	"github.com/holdfast-dev/holdfast/destination/internal/retry"
)

// Store is a [destination.Store] and a [destination.Signer].
type Store struct {
	d      Driver
	prefix string // empty, or with a slash at its end
	mark   string
	retry  retry.Policy
}

// Prefix returns what stands before all keys: nothing, or a path with a slash at its end.
func Prefix(configured string) string {
	if p := strings.Trim(configured, "/"); p != "" {
		return p + "/"
	}
	return ""
}

// New returns the objects of a driver under a [Prefix]. Its Put marks them.
func New(d Driver, prefix, mark string, p retry.Policy) *Store {
	return &Store{d: d, prefix: prefix, mark: mark, retry: p}
}

// Marked returns the same store with another mark.
func (s *Store) Marked(mark string) *Store {
	marked := *s
	marked.mark = mark
	return &marked
}

// Name returns the name of the object of a key, or of all whose keys begin with a prefix.
func (s *Store) Name(key string) string { return s.prefix + key }

// Key returns the key of an object, or false for a name that is not of this store.
func (s *Store) Key(name string) (string, bool) {
	key, ours := strings.CutPrefix(name, s.prefix)
	return key, ours && destination.CheckKey(key) == nil
}

// Explain makes an error of the driver one of this store.
func (s *Store) Explain(op, key string, err error) error { return wrap(op, key, err, s.d.Classify) }

// Open implements [destination.Store].
func (s *Store) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := destination.CheckKey(key); err != nil {
		return nil, err
	}
	if length == 0 {
		_, err := s.Stat(ctx, key)
		return http.NoBody, err
	}
	return resume.Resumer{
		Policy: s.retry, Retryable: s.d.Retryable,
		Open: func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
			return s.d.OpenRange(ctx, s.Name(key), offset, length)
		},
		Explain: func(err error) error { return s.explainMissing(ctx, "read", key, err) },
	}.Range(ctx, offset, length)
}

// Stat implements [destination.Store].
func (s *Store) Stat(ctx context.Context, key string) (destination.Info, error) {
	if err := destination.CheckKey(key); err != nil {
		return destination.Info{}, err
	}
	o, err := s.d.Stat(ctx, s.Name(key))
	if err != nil {
		return destination.Info{}, s.explainMissing(ctx, "stat", key, err)
	}
	return s.info(key, o), nil
}

// explainMissing is Explain for calls whose answer does not tell a missing object
// from a missing bucket.
func (s *Store) explainMissing(ctx context.Context, op, key string, err error) error {
	if s.d.IsMissing(err) {
		err = s.d.WhyMissing(ctx, err)
	}
	return s.Explain(op, key, err)
}

// List implements [destination.Store].
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[destination.Info, error] {
	return func(yield func(destination.Info, error) bool) {
		for token := ""; ; {
			objects, next, err := s.d.Page(ctx, s.Name(prefix), token)
			if err != nil {
				yield(destination.Info{}, s.Explain("list", prefix, err))
				return
			}
			for _, o := range objects {
				if key, ours := s.Key(o.Name); ours && !yield(s.info(key, o), nil) {
					return
				}
			}
			if token = next; token == "" {
				return
			}
		}
	}
}

// Delete implements [destination.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := destination.CheckKey(key); err != nil {
		return err
	}
	if err := s.d.Delete(ctx, s.Name(key)); err != nil {
		return s.Explain("delete", key, err)
	}
	return nil
}

// Sign implements [destination.Signer].
func (s *Store) Sign(ctx context.Context, key, name string, valid time.Duration) (string, error) {
	if err := destination.CheckKey(key); err != nil {
		return "", err
	}
	url, err := s.d.Sign(ctx, s.Name(key), name, valid)
	if err != nil {
		return "", s.Explain("sign", key, err)
	}
	return url, nil
}
