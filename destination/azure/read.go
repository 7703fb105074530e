package azure

import (
	"context"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

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
			var o blob.DownloadStreamOptions
			if offset > 0 || length > 0 {
				o.Range = blob.HTTPRange{Offset: offset, Count: max(0, length)} // 0 is to the end
			}
			res, err := s.blob(key).DownloadStream(ctx, &o)
			if bloberror.HasCode(err, bloberror.InvalidRange) {
				return http.NoBody, nil // behind the end, or an empty blob
			}
			return res.Body, err
		},
	}.Range(ctx, offset, length)
}

// Stat implements [destination.Store].
func (s *Store) Stat(ctx context.Context, key string) (destination.Info, error) {
	if err := destination.CheckKey(key); err != nil {
		return destination.Info{}, err
	}
	p, err := s.properties(ctx, key)
	if err == nil && meta(p.Metadata, metaAborted) != "" {
		err = destination.ErrNotExist
	}
	if err != nil {
		return destination.Info{}, s.explain("stat", key, err)
	}
	info := destination.Info{Key: key, Path: s.path(key), Mark: meta(p.Metadata, metaMark)}
	if p.ContentLength != nil && p.LastModified != nil {
		info.Size, info.ModTime = *p.ContentLength, *p.LastModified
	}
	return info, nil
}

func (s *Store) properties(ctx context.Context, key string) (p blob.GetPropertiesResponse, err error) {
	err = s.do(ctx, func(ctx context.Context) error {
		p, err = s.blob(key).GetProperties(ctx, nil)
		return err
	})
	return p, err
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

// page is how many keys one answer holds at most.
const page = 1000

// List implements [destination.Store].
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[destination.Info, error] {
	return func(yield func(destination.Info, error) bool) {
		err := s.walk(ctx, prefix, container.ListBlobsInclude{Metadata: true}, func(key string, b *container.BlobItem) (bool, error) {
			if meta(b.Metadata, metaAborted) != "" {
				return true, nil
			}
			info := destination.Info{Key: key, Path: s.path(key), Mark: meta(b.Metadata, metaMark)}
			if p := b.Properties; p != nil && p.ContentLength != nil && p.LastModified != nil {
				info.Size, info.ModTime = *p.ContentLength, *p.LastModified
			}
			return yield(info, nil), nil
		})
		if err != nil {
			yield(destination.Info{}, s.explain("list", prefix, err))
		}
	}
}

// walk calls f for each blob of a prefix, in order, until f returns false or an
// error.
func (s *Store) walk(ctx context.Context, prefix string, include container.ListBlobsInclude, f func(string, *container.BlobItem) (bool, error)) error {
	var marker *string
	for {
		var items []*container.BlobItem
		err := s.do(ctx, func(ctx context.Context) error {
			pager := s.c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: new(s.prefix + prefix), Marker: marker, MaxResults: new(int32(page)), Include: include})
			res, err := pager.NextPage(ctx)
			if err == nil {
				items, marker = res.Segment.BlobItems, res.NextMarker
			}
			return err
		})
		if err != nil {
			return err
		}
		for _, b := range items {
			if b.Name == nil {
				continue
			}
			key := strings.TrimPrefix(*b.Name, s.prefix)
			if destination.CheckKey(key) != nil {
				continue
			}
			if more, err := f(key, b); !more || err != nil {
				return err
			}
		}
		if marker == nil || *marker == "" {
			return nil
		}
	}
}

// Sign implements [destination.Signer].
func (s *Store) Sign(_ context.Context, key, name string, valid time.Duration) (string, error) {
	if err := destination.CheckKey(key); err != nil {
		return "", err
	}
	q, err := sas.BlobSignatureValues{
		ContainerName: s.name, BlobName: s.prefix + key, Permissions: new(sas.BlobPermissions{Read: true}).String(),
		ExpiryTime: time.Now().UTC().Add(valid), ContentDisposition: `attachment; filename="` + name + `"`,
	}.SignWithSharedKey(s.cred)
	if err != nil {
		return "", s.explain("sign", key, err)
	}
	return s.blob(key).URL() + "?" + q.Encode(), nil
}
