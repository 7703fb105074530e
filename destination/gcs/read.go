package gcs

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/resume"
)

// Open implements [destination.Store].
func (s *Store) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := destination.CheckKey(key); err != nil {
		return nil, err
	}
	if length == 0 {
		_, err := s.Stat(ctx, key)
		return http.NoBody, err
	}
	return resume.Driver{
		Policy: s.retry, Judge: judge, Explain: func(err error) error { return s.explain("read", key, s.why(ctx, err)) },
		Open: func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
			r, err := s.object(key).NewRangeReader(ctx, offset, length)
			if api, ok := errors.AsType[*googleapi.Error](err); ok && api.Code == http.StatusRequestedRangeNotSatisfiable {
				return http.NoBody, nil // behind the end, or an empty object
			}
			if err != nil {
				return nil, err
			}
			return r, nil
		},
	}.Range(ctx, offset, length)
}

// Stat implements [destination.Store].
func (s *Store) Stat(ctx context.Context, key string) (destination.Info, error) {
	if err := destination.CheckKey(key); err != nil {
		return destination.Info{}, err
	}
	attrs, err := s.attrs(ctx, key)
	if err != nil {
		return destination.Info{}, s.explain("stat", key, s.why(ctx, err))
	}
	return s.info(key, attrs), nil
}

func (s *Store) attrs(ctx context.Context, key string) (attrs *storage.ObjectAttrs, err error) {
	err = s.do(ctx, func(ctx context.Context) error {
		attrs, err = s.object(key).Attrs(ctx)
		return err
	})
	return attrs, err
}

// why tells a missing bucket from a missing object, which have the same answer.
func (s *Store) why(ctx context.Context, err error) error {
	if !errors.Is(err, storage.ErrObjectNotExist) {
		return err
	}
	lerr := s.do(ctx, func(ctx context.Context) error {
		_, err := s.page(ctx, "holdfast-no-such-object", "")
		return err
	})
	if errors.Is(lerr, storage.ErrBucketNotExist) {
		return lerr
	}
	return err
}

func (s *Store) info(key string, a *storage.ObjectAttrs) destination.Info {
	return destination.Info{Key: key, Path: s.path(key), Size: a.Size, Mark: a.Metadata[metaMark], ModTime: a.Updated}
}

// page is how many keys one answer holds at most.
const page = 1000

// List implements [destination.Store].
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[destination.Info, error] {
	return func(yield func(destination.Info, error) bool) {
		after := ""
		for {
			var objects []*storage.ObjectAttrs
			err := s.do(ctx, func(ctx context.Context) (err error) {
				objects, err = s.page(ctx, prefix, after)
				return err
			})
			if err != nil {
				yield(destination.Info{}, s.explain("list", prefix, err))
				return
			}
			for _, o := range objects {
				after = o.Name
				key := strings.TrimPrefix(o.Name, s.prefix)
				if destination.CheckKey(key) == nil && !yield(s.info(key, o), nil) {
					return
				}
			}
			if len(objects) < page {
				return
			}
		}
	}
}

// page returns the next objects behind a name.
func (s *Store) page(ctx context.Context, prefix, after string) (objects []*storage.ObjectAttrs, err error) {
	q := &storage.Query{Prefix: s.prefix + prefix, Projection: storage.ProjectionNoACL}
	if after != "" {
		q.StartOffset = after + "\x00" // the offset itself would be part of the page
	}
	it := s.bucket.Objects(ctx, q)
	it.PageInfo().MaxSize = page
	for len(objects) < page {
		o, err := it.Next()
		if errors.Is(err, iterator.Done) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// errNoSigner is returned by Sign without the key of a service account.
var errNoSigner = errors.New("only the key of a service account, in credentials_file, can sign URLs")

// Sign implements [destination.Signer].
func (s *Store) Sign(_ context.Context, key, name string, valid time.Duration) (string, error) {
	if err := destination.CheckKey(key); err != nil {
		return "", err
	}
	if !s.signs {
		return "", errNoSigner
	}
	return s.bucket.SignedURL(s.prefix+key, &storage.SignedURLOptions{
		Scheme: storage.SigningSchemeV4, Method: http.MethodGet, Expires: time.Now().Add(valid),
		QueryParameters: url.Values{"response-content-disposition": {`attachment; filename="` + name + `"`}},
	})
}
