package azure

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/portable"
)

// OpenRange implements [portable.Driver].
func (d *driver) OpenRange(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	var o blob.DownloadStreamOptions
	if offset > 0 || length > 0 {
		o.Range = blob.HTTPRange{Offset: offset, Count: max(0, length)} // 0 is to the end
	}
	res, err := d.blob(name).DownloadStream(ctx, &o)
	if bloberror.HasCode(err, bloberror.InvalidRange) {
		return http.NoBody, nil // behind the end, or an empty blob
	}
	return res.Body, err
}

// Stat implements [portable.Driver]. A blob that an upload was aborted with is none.
func (d *driver) Stat(ctx context.Context, name string) (portable.Object, error) {
	p, err := d.properties(ctx, name)
	if err == nil && meta(p.Metadata, metaAborted) != "" {
		err = destination.ErrNotExist
	}
	o := portable.Object{Name: name, Tags: tags(p.Metadata)}
	if err == nil && p.ContentLength != nil && p.LastModified != nil {
		o.Size, o.ModTime = *p.ContentLength, *p.LastModified
	}
	if err == nil && p.ETag != nil {
		o.Version = string(*p.ETag)
	}
	return o, err
}

// WhyMissing implements [portable.Driver]: Azure says it by itself.
func (*driver) WhyMissing(_ context.Context, err error) error { return err }

func (d *driver) properties(ctx context.Context, name string) (p blob.GetPropertiesResponse, err error) {
	err = d.do(ctx, 0, func(ctx context.Context) error {
		p, err = d.blob(name).GetProperties(ctx, nil)
		return err
	})
	return p, err
}

func tags(m map[string]*string) portable.Tags {
	return portable.Tags{Mark: meta(m, metaMark), Upload: meta(m, metaUpload)}
}

// meta returns a piece of metadata, whose names come back in any case.
func meta(m map[string]*string, name string) string {
	for k, v := range m {
		if v != nil && strings.EqualFold(k, name) {
			return *v
		}
	}
	return ""
}

// page is how many names one answer holds at most.
const page = 1000

// Page implements [portable.Driver].
func (d *driver) Page(ctx context.Context, prefix, token string) (objects []portable.Object, next string, err error) {
	items, next, err := d.page(ctx, prefix, token, container.ListBlobsInclude{Metadata: true})
	for _, b := range items {
		if meta(b.Metadata, metaAborted) != "" {
			continue
		}
		o := portable.Object{Name: *b.Name, Tags: tags(b.Metadata)}
		if p := b.Properties; p != nil && p.ContentLength != nil && p.LastModified != nil {
			o.Size, o.ModTime = *p.ContentLength, *p.LastModified
		}
		objects = append(objects, o)
	}
	return objects, next, err
}

// page returns the next blobs of a prefix, all of which have a name.
func (d *driver) page(ctx context.Context, prefix, token string, include container.ListBlobsInclude) (items []*container.BlobItem, next string, err error) {
	o := container.ListBlobsFlatOptions{Prefix: &prefix, MaxResults: new(int32(page)), Include: include}
	if token != "" {
		o.Marker = &token
	}
	err = d.do(ctx, 0, func(ctx context.Context) error {
		items, next = nil, ""
		res, err := d.c.NewListBlobsFlatPager(&o).NextPage(ctx)
		if err != nil {
			return err
		}
		for _, b := range res.Segment.BlobItems {
			if b.Name != nil {
				items = append(items, b)
			}
		}
		if res.NextMarker != nil {
			next = *res.NextMarker
		}
		return nil
	})
	return items, next, err
}

// walk calls f for each blob of a prefix, in order, until f returns false or an
// error.
func (d *driver) walk(ctx context.Context, prefix string, include container.ListBlobsInclude, f func(*container.BlobItem) (bool, error)) error {
	for token := ""; ; {
		items, next, err := d.page(ctx, prefix, token, include)
		if err != nil {
			return err
		}
		for _, b := range items {
			if more, err := f(b); !more || err != nil {
				return err
			}
		}
		if token = next; token == "" {
			return nil
		}
	}
}

// Sign implements [portable.Driver].
func (d *driver) Sign(_ context.Context, name, fileName string, valid time.Duration) (string, error) {
	q, err := sas.BlobSignatureValues{
		ContainerName: d.container, BlobName: name, Permissions: new(sas.BlobPermissions{Read: true}).String(),
		ExpiryTime: time.Now().UTC().Add(valid), ContentDisposition: `attachment; filename="` + fileName + `"`,
	}.SignWithSharedKey(d.cred)
	if err != nil {
		return "", err
	}
	return d.blob(name).URL() + "?" + q.Encode(), nil
}
