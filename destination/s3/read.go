package s3

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/holdfast-dev/holdfast/destination/internal/portable"
)

// OpenRange implements [portable.Driver].
func (d *driver) OpenRange(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
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
	body, _, _, err := d.core.GetObject(ctx, d.bucket, name, o)
	if minio.ToErrorResponse(err).Code == "InvalidRange" {
		return http.NoBody, nil // behind the end, or an empty object
	}
	return body, err
}

// Stat implements [portable.Driver].
func (d *driver) Stat(ctx context.Context, name string) (portable.Object, error) {
	return d.statVersion(ctx, name, "")
}

// statVersion asks for one version of an object; "" is the newest.
func (d *driver) statVersion(ctx context.Context, name, version string) (portable.Object, error) {
	o := minio.StatObjectOptions{Checksum: !d.p.MD5, VersionID: version}
	var st minio.ObjectInfo
	err := d.do(ctx, 0, func(ctx context.Context) (err error) {
		st, err = d.core.StatObject(ctx, d.bucket, name, o)
		return err
	})
	if code := minio.ToErrorResponse(err).StatusCode; code >= 400 && code < 500 && !isMissing(err) {
		err = d.WhyMissing(ctx, err) // the answer to HEAD has no text
	}
	return d.object(name, st), err
}

// WhyMissing implements [portable.Driver]: it returns what the provider says to
// another question, or err.
func (d *driver) WhyMissing(ctx context.Context, err error) error {
	if _, _, perr := d.Page(ctx, d.prefix+"holdfast-no-such-object", ""); perr != nil {
		return perr
	}
	return err
}

// object returns what the driver needs of what the provider says. The checksum is
// the entity tag for a provider that knows nothing better.
func (d *driver) object(name string, st minio.ObjectInfo) portable.Object {
	o := portable.Object{
		Name: name, Size: st.Size, ModTime: st.LastModified, Version: st.VersionID, Checksum: st.ChecksumCRC64NVME,
		Tags: portable.Tags{Mark: st.UserMetadata[http.CanonicalHeaderKey(metaMark)], Upload: st.UserMetadata[http.CanonicalHeaderKey(metaUpload)]},
	}
	if d.p.MD5 {
		o.Checksum = st.ETag
	}
	return o
}

// page is how many keys one answer holds at most.
const page = 1000

// Page implements [portable.Driver]. The token is the last name of the page before.
func (d *driver) Page(ctx context.Context, prefix, after string) (objects []portable.Object, next string, err error) {
	err = d.do(ctx, 0, func(ctx context.Context) error {
		objects, next = nil, ""
		for o := range d.core.ListObjectsIter(ctx, d.bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true, StartAfter: after, MaxKeys: page}) {
			if o.Err != nil {
				return o.Err
			}
			if objects = append(objects, d.object(o.Key, o)); len(objects) == page {
				next = o.Key
				break
			}
		}
		return nil
	})
	return objects, next, err
}

// Sign implements [portable.Driver].
func (d *driver) Sign(ctx context.Context, name, fileName string, valid time.Duration) (string, error) {
	u, err := d.core.PresignedGetObject(ctx, d.bucket, name, valid, url.Values{"response-content-disposition": {`attachment; filename="` + fileName + `"`}})
	if err != nil {
		return "", err
	}
	return u.String(), nil
}
