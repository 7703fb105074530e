package s3

import (
	"context"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

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
		Policy: s.retry, Judge: judge, Explain: func(err error) error { return s.explain("read", key, err) },
		Open: func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
			return s.openRange(ctx, key, offset, length)
		},
	}.Range(ctx, offset, length)
}

func (s *Store) openRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	var o minio.GetObjectOptions
	if offset > 0 || length > 0 {
		last := int64(0) // to the end
		if length > 0 {
			last = offset + length - 1
		}
		if err := o.SetRange(offset, last); err != nil {
			return nil, err
		}
	}
	body, _, _, err := s.core.GetObject(ctx, s.bucket, s.name(key), o)
	if minio.ToErrorResponse(err).Code == "InvalidRange" {
		return http.NoBody, nil // behind the end, or an empty object
	}
	return body, err
}

// Stat implements [destination.Store].
func (s *Store) Stat(ctx context.Context, key string) (destination.Info, error) {
	if err := destination.CheckKey(key); err != nil {
		return destination.Info{}, err
	}
	st, err := s.stat(ctx, key)
	if isMissing(err) {
		err = s.why(ctx, err) // perhaps the bucket is missing
	}
	if err != nil {
		return destination.Info{}, s.explain("stat", key, err)
	}
	return s.info(key, st), nil
}

func (s *Store) stat(ctx context.Context, key string) (minio.ObjectInfo, error) {
	return s.statVersion(ctx, key, "")
}

// statVersion asks for one version of an object; "" is the newest.
func (s *Store) statVersion(ctx context.Context, key, version string) (st minio.ObjectInfo, err error) {
	o := minio.StatObjectOptions{Checksum: !s.p.MD5, VersionID: version}
	err = s.do(ctx, 0, func(ctx context.Context) error {
		st, err = s.core.StatObject(ctx, s.bucket, s.name(key), o)
		return err
	})
	if code := minio.ToErrorResponse(err).StatusCode; code >= 400 && code < 500 && !isMissing(err) {
		err = s.why(ctx, err)
	}
	return st, err
}

// why returns what the provider says to another question when the answer to one of
// the kind that has no text, was err.
func (s *Store) why(ctx context.Context, err error) error {
	lerr := s.do(ctx, 0, func(ctx context.Context) error {
		_, err := s.page(ctx, "holdfast-no-such-object", "")
		return err
	})
	if lerr != nil {
		return lerr
	}
	return err
}

func (s *Store) info(key string, st minio.ObjectInfo) destination.Info {
	return destination.Info{Key: key, Path: s.path(key), Size: st.Size, Mark: meta(st, metaMark), ModTime: st.LastModified}
}

// meta returns a piece of an object's metadata.
func meta(st minio.ObjectInfo, name string) string {
	return st.UserMetadata[http.CanonicalHeaderKey(name)]
}

// page is how many keys one answer holds at most.
const page = 1000

// List implements [destination.Store].
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[destination.Info, error] {
	return func(yield func(destination.Info, error) bool) {
		after := ""
		for {
			var objects []minio.ObjectInfo
			err := s.do(ctx, 0, func(ctx context.Context) (err error) {
				objects, err = s.page(ctx, prefix, after)
				return err
			})
			if err != nil {
				yield(destination.Info{}, s.explain("list", prefix, err))
				return
			}
			for _, o := range objects {
				after = o.Key
				key := strings.TrimPrefix(o.Key, s.prefix)
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
func (s *Store) page(ctx context.Context, prefix, after string) (objects []minio.ObjectInfo, err error) {
	for o := range s.core.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.name(prefix), Recursive: true, StartAfter: after, MaxKeys: page}) {
		if o.Err != nil {
			return nil, o.Err
		}
		if objects = append(objects, o); len(objects) == page {
			break
		}
	}
	return objects, nil
}

// Sign implements [destination.Signer].
func (s *Store) Sign(ctx context.Context, key, name string, valid time.Duration) (string, error) {
	if err := destination.CheckKey(key); err != nil {
		return "", err
	}
	u, err := s.core.PresignedGetObject(ctx, s.bucket, s.name(key), valid, url.Values{"response-content-disposition": {`attachment; filename="` + name + `"`}})
	if err != nil {
		return "", s.explain("sign", key, err)
	}
	return u.String(), nil
}
