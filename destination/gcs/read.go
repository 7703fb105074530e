package gcs

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"

	"github.com/holdfast-dev/holdfast/destination/internal/portable"
)

// OpenRange implements [portable.Driver].
func (d *driver) OpenRange(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	r, err := d.bucket.Object(name).NewRangeReader(ctx, offset, length)
	if api, ok := errors.AsType[*googleapi.Error](err); ok && api.Code == http.StatusRequestedRangeNotSatisfiable {
		return http.NoBody, nil // behind the end, or an empty object
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Stat implements [portable.Driver].
func (d *driver) Stat(ctx context.Context, name string) (portable.Object, error) {
	var attrs *storage.ObjectAttrs
	err := d.do(ctx, func(ctx context.Context) (err error) {
		attrs, err = d.bucket.Object(name).Attrs(ctx)
		return err
	})
	if err != nil {
		return portable.Object{}, err
	}
	return object(attrs), nil
}

// WhyMissing implements [portable.Driver]: a missing bucket and a missing object
// have the same answer.
func (d *driver) WhyMissing(ctx context.Context, err error) error {
	if _, _, perr := d.Page(ctx, d.prefix+"holdfast-no-such-object", ""); errors.Is(perr, storage.ErrBucketNotExist) {
		return perr
	}
	return err
}

// object returns what Google says of one. The checksum is the CRC-32C, and the
// version is the generation.
func object(a *storage.ObjectAttrs) portable.Object {
	return portable.Object{
		Name: a.Name, Size: a.Size, ModTime: a.Updated, Checksum: encode(a.CRC32C), Version: strconv.FormatInt(a.Generation, 10),
		Tags: portable.Tags{Mark: a.Metadata[metaMark], Upload: a.Metadata[metaUpload]},
	}
}

// page is how many names one answer holds at most.
const page = 1000

// Page implements [portable.Driver]. The token is the last name of the page before.
func (d *driver) Page(ctx context.Context, prefix, after string) (objects []portable.Object, next string, err error) {
	q := &storage.Query{Prefix: prefix, Projection: storage.ProjectionNoACL}
	if after != "" {
		q.StartOffset = after + "\x00" // the offset itself would be part of the page
	}
	err = d.do(ctx, func(ctx context.Context) error {
		objects, next = nil, ""
		it := d.bucket.Objects(ctx, q)
		it.PageInfo().MaxSize = page
		for len(objects) < page {
			o, err := it.Next()
			if errors.Is(err, iterator.Done) {
				return nil
			}
			if err != nil {
				return err
			}
			objects = append(objects, object(o))
		}
		next = objects[page-1].Name
		return nil
	})
	return objects, next, err
}

// errNoSigner is returned by Sign without the key of a service account.
var errNoSigner = errors.New("only the key of a service account, in credentials_file, can sign URLs")

// Sign implements [portable.Driver].
func (d *driver) Sign(_ context.Context, name, fileName string, valid time.Duration) (string, error) {
	if !d.signs {
		return "", errNoSigner
	}
	return d.bucket.SignedURL(name, &storage.SignedURLOptions{
		Scheme: storage.SigningSchemeV4, Method: http.MethodGet, Expires: time.Now().Add(valid),
		QueryParameters: url.Values{"response-content-disposition": {`attachment; filename="` + fileName + `"`}},
	})
}
