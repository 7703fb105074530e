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
	"github.com/holdfast-dev/holdfast/destination/internal/reason"
)

// Delete implements [destination.Store]. Versions and soft-deleted blobs that the
// account keeps are its own affair: they end by its own rules.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := destination.CheckKey(key); err != nil {
		return err
	}
	if err := s.deleteIf(ctx, key, nil); err != nil {
		return s.explain("delete", key, err)
	}
	return nil
}

// deleteIf deletes a blob, if it still has a tag; nil is any.
func (s *Store) deleteIf(ctx context.Context, key string, etag *azcore.ETag) error {
	o := &blob.DeleteOptions{DeleteSnapshots: new(blob.DeleteSnapshotsOptionTypeInclude)}
	if etag != nil {
		o.AccessConditions = &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: etag}}
	}
	err := s.do(ctx, func(ctx context.Context) error {
		_, err := s.blob(key).Delete(ctx, o)
		return err
	})
	switch {
	case bloberror.HasCode(err, bloberror.BlobNotFound, bloberror.ResourceNotFound):
		return nil
	case bloberror.HasCode(err, bloberror.BlobImmutableDueToPolicy, "BlobImmutableDueToLegalHold", "LeaseIdMissing", "ContainerImmutableDueToPolicy"):
		return reason.Locked(s.lock(ctx, key), err)
	}
	return err
}

// lock says what keeps a blob from being deleted.
func (s *Store) lock(ctx context.Context, key string) string {
	p, err := s.properties(ctx, key)
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
		err := s.walk(ctx, prefix, container.ListBlobsInclude{UncommittedBlobs: true}, func(key string, b *container.BlobItem) (bool, error) {
			if b.Properties != nil && b.Properties.ContentLength != nil && *b.Properties.ContentLength > 0 {
				return true, nil
			}
			switch _, err := s.properties(ctx, key); {
			case err == nil:
				return true, nil // an empty blob
			case !isMissing(err):
				return false, err
			}
			u := destination.Upload{Key: key}
			if b.Properties != nil && b.Properties.LastModified != nil {
				u.Started = *b.Properties.LastModified
			}
			return yield(u, nil), nil
		})
		if err != nil {
			yield(destination.Upload{}, s.explain("list uploads to", prefix, err))
		}
	}
}

// Abort implements [destination.Uploader]. Azure drops staged blocks when a list
// without them is committed, so an empty one is, with a sign by which List and Stat
// leave the blob out, and the blob is deleted again.
func (s *Store) Abort(ctx context.Context, u destination.Upload) error {
	var etag *azcore.ETag
	err := s.do(ctx, func(ctx context.Context) error {
		res, err := s.blob(u.Key).CommitBlockList(ctx, nil, &blockblob.CommitBlockListOptions{
			Metadata: map[string]*string{metaAborted: new("true"), metaMark: &s.mark}, AccessConditions: ifNew(),
		})
		etag = res.ETag
		return err
	})
	if isTaken(err) { // it was committed meanwhile, or an earlier try has put the empty blob
		p, perr := s.properties(ctx, u.Key)
		if perr != nil || meta(p.Metadata, metaAborted) == "" {
			return nil //nolint:nilerr // what became of it stays
		}
		etag, err = p.ETag, nil
	}
	if err == nil {
		err = s.deleteIf(ctx, u.Key, etag)
	}
	if err != nil {
		return s.explain("abort the upload of", u.Key, err)
	}
	return nil
}
