package azure

import (
	"context"
	"iter"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/portable"
)

// Delete implements [portable.Driver]. Versions and soft-deleted blobs that the
// account keeps are its own affair: they end by its own rules.
func (d *driver) Delete(ctx context.Context, name string) error { return d.deleteIf(ctx, name, nil) }

// deleteIf deletes a blob, if it still has a tag; nil is any.
func (d *driver) deleteIf(ctx context.Context, name string, etag *azcore.ETag) error {
	o := &blob.DeleteOptions{DeleteSnapshots: new(blob.DeleteSnapshotsOptionTypeInclude)}
	if etag != nil {
		o.AccessConditions = &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: etag}}
	}
	err := d.do(ctx, 0, func(ctx context.Context) error {
		_, err := d.blob(name).Delete(ctx, o)
		return err
	})
	switch {
	case bloberror.HasCode(err, bloberror.BlobNotFound, bloberror.ResourceNotFound):
		return nil
	case bloberror.HasCode(err, bloberror.BlobImmutableDueToPolicy, "BlobImmutableDueToLegalHold", "LeaseIdMissing", "ContainerImmutableDueToPolicy"):
		return portable.Locked(d.lock(ctx, name), err)
	}
	return err
}

// lock says what keeps a blob from being deleted.
func (d *driver) lock(ctx context.Context, name string) string {
	p, err := d.properties(ctx, name)
	switch {
	case err == nil && p.LegalHold != nil && *p.LegalHold:
		return "it is under a legal hold"
	case err == nil && p.ImmutabilityPolicyExpiresOn != nil && p.ImmutabilityPolicyExpiresOn.After(time.Now()):
		return "it is retained until " + p.ImmutabilityPolicyExpiresOn.UTC().Format(time.RFC3339)
	}
	return "a policy, a hold or a lease keeps it"
}

// Unfinished implements [destination.Uploader]: it yields blobs that have staged
// blocks and were never committed. When they were begun Azure does not say.
func (s *Store) Unfinished(ctx context.Context, prefix string) iter.Seq2[destination.Upload, error] {
	return func(yield func(destination.Upload, error) bool) {
		err := s.d.walk(ctx, s.Name(prefix), container.ListBlobsInclude{UncommittedBlobs: true}, func(b *container.BlobItem) (bool, error) {
			key, ours := s.Key(*b.Name)
			if !ours {
				return true, nil
			}
			if b.Properties != nil && b.Properties.ContentLength != nil && *b.Properties.ContentLength > 0 {
				return true, nil
			}
			switch _, err := s.d.properties(ctx, *b.Name); {
			case err == nil:
				return true, nil // an empty blob
			case !s.d.IsMissing(err):
				return false, err
			}
			u := destination.Upload{Key: key}
			if b.Properties != nil && b.Properties.LastModified != nil {
				u.Started = *b.Properties.LastModified
			}
			return yield(u, nil), nil
		})
		if err != nil {
			yield(destination.Upload{}, s.Explain("list uploads to", prefix, err))
		}
	}
}

// Abort implements [destination.Uploader].
func (s *Store) Abort(ctx context.Context, u destination.Upload) error {
	if err := s.d.abort(ctx, s.Name(u.Key)); err != nil {
		return s.Explain("abort the upload of", u.Key, err)
	}
	return nil
}

// abort drops the blocks that were staged for a blob. Azure does so when a list
// without them is committed, so an empty one is, with a sign by which Page and Stat
// leave the blob out, and the blob is deleted again.
func (d *driver) abort(ctx context.Context, name string) error {
	var etag *azcore.ETag
	err := d.do(ctx, 0, func(ctx context.Context) error {
		res, err := d.blob(name).CommitBlockList(ctx, nil, &blockblob.CommitBlockListOptions{
			Metadata: map[string]*string{metaAborted: new("true")}, AccessConditions: ifNew(),
		})
		etag = res.ETag
		return err
	})
	if isRefused(err) { // it was committed meanwhile, or an earlier try has put the empty blob
		p, perr := d.properties(ctx, name)
		if perr != nil || meta(p.Metadata, metaAborted) == "" {
			return nil //nolint:nilerr // what became of it stays
		}
		etag, err = p.ETag, nil
	}
	if err != nil {
		return err
	}
	return d.deleteIf(ctx, name, etag)
}
