package s3

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/reason"
)

// Delete implements [destination.Store]. In a bucket that keeps versions a plain
// deletion would only hide the object, so each version is deleted.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := destination.CheckKey(key); err != nil {
		return err
	}
	if err := s.deleteAll(ctx, s.name(key)); err != nil {
		return s.explain("delete", key, err)
	}
	return nil
}

func (s *Store) deleteAll(ctx context.Context, name string) error {
	if !s.p.Versions {
		return s.deleteVersion(ctx, name, "")
	}
	all, err := s.versions(ctx, name)
	if minio.ToErrorResponse(err).StatusCode == http.StatusNotImplemented {
		return s.deleteVersion(ctx, name, "")
	}
	if err != nil {
		return err
	}
	for _, v := range all {
		if err := s.deleteVersion(ctx, name, v.VersionID); err != nil {
			return err
		}
	}
	return nil
}

// versions returns those of one object, the newest first.
func (s *Store) versions(ctx context.Context, name string) (all []minio.ObjectInfo, err error) {
	err = s.do(ctx, 0, func(ctx context.Context) error {
		all = nil
		for o := range s.core.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: name, Recursive: true, WithVersions: true}) {
			if o.Err != nil {
				return o.Err
			}
			if o.Key == name {
				all = append(all, o)
			}
		}
		return nil
	})
	return all, err
}

func (s *Store) deleteVersion(ctx context.Context, name, version string) error {
	err := s.do(ctx, 0, func(ctx context.Context) error {
		return s.core.RemoveObject(ctx, s.bucket, name, minio.RemoveObjectOptions{VersionID: version})
	})
	if isMissing(err) {
		return nil
	}
	// Providers refuse to delete what is locked in different words, one of them
	// with those for missing permissions.
	if res := minio.ToErrorResponse(err); res.StatusCode >= 400 && res.StatusCode < 500 {
		why := s.lock(ctx, name, version)
		if text := strings.ToLower(res.Message); why == "" && (strings.Contains(text, "object lock") || strings.Contains(text, "worm")) {
			why = "a lock of the bucket keeps it"
		}
		if why != "" {
			return reason.Locked(why, err)
		}
	}
	return err
}

// lock says what keeps a version from being deleted, or nothing.
func (s *Store) lock(ctx context.Context, name, version string) (why string) {
	var st minio.ObjectInfo
	err := s.do(ctx, 0, func(ctx context.Context) (err error) {
		st, err = s.core.StatObject(ctx, s.bucket, name, minio.StatObjectOptions{VersionID: version})
		return err
	})
	if err != nil {
		return "" // nobody knows; the refusal itself is reported
	}
	until, err := time.Parse(time.RFC3339, st.Metadata.Get("X-Amz-Object-Lock-Retain-Until-Date"))
	switch {
	case st.Metadata.Get("X-Amz-Object-Lock-Legal-Hold") == string(minio.LegalHoldEnabled):
		return "it is under a legal hold"
	case err == nil && until.After(time.Now()):
		return fmt.Sprintf("it is retained (%s) until %s", strings.ToLower(st.Metadata.Get("X-Amz-Object-Lock-Mode")), until.UTC().Format(time.RFC3339))
	}
	return ""
}

// Unfinished implements [destination.Uploader]. MinIO lists uploads by their
// whole key only, and ends forgotten ones by itself after a day.
func (s *Store) Unfinished(ctx context.Context, prefix string) iter.Seq2[destination.Upload, error] {
	return func(yield func(destination.Upload, error) bool) {
		var key, id string // where the next page begins
		for {
			var res minio.ListMultipartUploadsResult
			err := s.do(ctx, 0, func(ctx context.Context) (err error) {
				res, err = s.core.ListMultipartUploads(ctx, s.bucket, s.name(prefix), key, id, "", page)
				return err
			})
			if minio.ToErrorResponse(err).Code == minio.NoSuchUpload {
				return // none at all, in the words of some
			}
			if err != nil {
				yield(destination.Upload{}, s.explain("list uploads to", prefix, err))
				return
			}
			for _, u := range res.Uploads {
				k, ours := strings.CutPrefix(u.Key, s.prefix)
				if ours && strings.HasPrefix(k, prefix) && destination.CheckKey(k) == nil && !yield(destination.Upload{Key: k, ID: u.UploadID, Started: u.Initiated}, nil) {
					return
				}
			}
			if !res.IsTruncated {
				return
			}
			key, id = res.NextKeyMarker, res.NextUploadIDMarker
		}
	}
}

// Abort implements [destination.Uploader].
func (s *Store) Abort(ctx context.Context, u destination.Upload) error {
	err := s.do(ctx, 0, func(ctx context.Context) error {
		return s.core.AbortMultipartUpload(ctx, s.bucket, s.name(u.Key), u.ID)
	})
	if err != nil && minio.ToErrorResponse(err).Code != minio.NoSuchUpload {
		return s.explain("abort the upload of", u.Key, err)
	}
	return nil
}
