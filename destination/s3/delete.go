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
	"github.com/holdfast-dev/holdfast/destination/internal/portable"
)

// Delete implements [portable.Driver]. In a bucket that keeps versions a plain
// deletion would only hide the object, so each version is deleted.
func (d *driver) Delete(ctx context.Context, name string) error {
	if !d.p.Versions {
		return d.deleteVersion(ctx, name, "")
	}
	all, err := d.versions(ctx, name)
	if minio.ToErrorResponse(err).StatusCode == http.StatusNotImplemented {
		return d.deleteVersion(ctx, name, "")
	}
	if err != nil {
		return err
	}
	for _, v := range all {
		if err := d.deleteVersion(ctx, name, v.VersionID); err != nil {
			return err
		}
	}
	return nil
}

// versions returns those of one object, the newest first.
func (d *driver) versions(ctx context.Context, name string) (all []minio.ObjectInfo, err error) {
	err = d.do(ctx, 0, func(ctx context.Context) error {
		all = nil
		for o := range d.core.ListObjectsIter(ctx, d.bucket, minio.ListObjectsOptions{Prefix: name, Recursive: true, WithVersions: true}) {
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

func (d *driver) deleteVersion(ctx context.Context, name, version string) error {
	err := d.do(ctx, 0, func(ctx context.Context) error {
		return d.core.RemoveObject(ctx, d.bucket, name, minio.RemoveObjectOptions{VersionID: version})
	})
	if isMissing(err) {
		return nil
	}
	// Providers refuse to delete what is locked in different words, one of them
	// with those for missing permissions.
	if res := minio.ToErrorResponse(err); res.StatusCode >= 400 && res.StatusCode < 500 {
		why := d.lock(ctx, name, version)
		if text := strings.ToLower(res.Message); why == "" && (strings.Contains(text, "object lock") || strings.Contains(text, "worm")) {
			why = "a lock of the bucket keeps it"
		}
		if why != "" {
			return portable.Locked(why, err)
		}
	}
	return err
}

// lock says what keeps a version from being deleted, or nothing.
func (d *driver) lock(ctx context.Context, name, version string) (why string) {
	var st minio.ObjectInfo
	err := d.do(ctx, 0, func(ctx context.Context) (err error) {
		st, err = d.core.StatObject(ctx, d.bucket, name, minio.StatObjectOptions{VersionID: version})
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
			err := s.d.do(ctx, 0, func(ctx context.Context) (err error) {
				res, err = s.d.core.ListMultipartUploads(ctx, s.d.bucket, s.Name(prefix), key, id, "", page)
				return err
			})
			if minio.ToErrorResponse(err).Code == minio.NoSuchUpload {
				return // none at all, in the words of some
			}
			if err != nil {
				yield(destination.Upload{}, s.Explain("list uploads to", prefix, err))
				return
			}
			for _, u := range res.Uploads {
				k, ours := s.Key(u.Key)
				if ours && strings.HasPrefix(k, prefix) && !yield(destination.Upload{Key: k, ID: u.UploadID, Started: u.Initiated}, nil) {
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
	if err := s.d.abort(ctx, s.Name(u.Key), u.ID); err != nil {
		return s.Explain("abort the upload of", u.Key, err)
	}
	return nil
}

func (d *driver) abort(ctx context.Context, name, id string) error {
	err := d.do(ctx, 0, func(ctx context.Context) error {
		return d.core.AbortMultipartUpload(ctx, d.bucket, name, id)
	})
	if minio.ToErrorResponse(err).Code == minio.NoSuchUpload {
		return nil
	}
	return err
}
