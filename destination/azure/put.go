package azure

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/google/uuid"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/parts"
)

// Metadata of every blob. Azure wants names that are identifiers of C#.
const (
	metaMark    = "holdfast_mark"
	metaUpload  = "holdfast_upload"  // tells an own blob from one that somebody else has put meanwhile
	metaAborted = "holdfast_aborted" // see Abort
)

// Put implements [destination.Store].
func (s *Store) Put(ctx context.Context, key string, r io.Reader, e destination.Estimate) (destination.Info, error) {
	info, err := s.put(ctx, key, r, e)
	if err != nil {
		return destination.Info{}, s.explain("put", key, err)
	}
	return info, nil
}

func (s *Store) put(ctx context.Context, key string, r io.Reader, e destination.Estimate) (destination.Info, error) {
	if err := destination.CheckKey(key); err != nil {
		return destination.Info{}, err
	}
	plan, err := parts.For(e, limits)
	if err != nil {
		return destination.Info{}, err
	}
	if _, err := s.properties(ctx, key); err == nil {
		return destination.Info{}, destination.ErrExist // before hours of work
	} else if !isMissing(err) {
		return destination.Info{}, err
	}
	stream := parts.New(r, plan)
	defer stream.Close() //nolint:errcheck // memory
	u := &upload{s: s, key: key, token: uuid.NewString()}
	if err := u.send(ctx, stream); err != nil {
		return destination.Info{}, err
	}
	sums := stream.Sums()
	if err := u.confirm(ctx, sums); err != nil {
		return destination.Info{}, err
	}
	return destination.Info{Key: key, Path: s.path(key), Size: sums.Size, SHA256: sums.SHA256, Mark: s.mark}, nil
}

// upload is a blob on its way.
type upload struct {
	s     *Store
	key   string
	token string

	mu     sync.Mutex
	blocks []block
}

// block is a part that was staged.
type block struct {
	id   string
	size int
}

// send stages all parts and commits them.
func (u *upload) send(ctx context.Context, stream *parts.Stream) (err error) {
	defer func() {
		if err != nil && len(u.blocks) > 0 {
			err = errors.Join(err, u.abort(ctx))
		}
	}()
	if err := stream.Send(ctx, nil, u.stage); err != nil {
		return err
	}
	var ids []string
	for _, b := range u.blocks {
		ids = append(ids, b.id)
	}
	err = u.s.do(ctx, func(ctx context.Context) error {
		_, err := u.s.blob(u.key).CommitBlockList(ctx, ids, &blockblob.CommitBlockListOptions{
			HTTPHeaders: &blob.HTTPHeaders{BlobContentType: new("application/octet-stream")},
			Metadata:    map[string]*string{metaUpload: &u.token, metaMark: &u.s.mark}, AccessConditions: ifNew(),
		})
		return err
	})
	return u.settle(ctx, err)
}

// ifNew is the condition that there is no blob of this name.
func ifNew() *blob.AccessConditions {
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: new(azcore.ETagAny)}}
}

// stage uploads a part.
func (u *upload) stage(ctx context.Context, p *parts.Part) error {
	if p.Size == 0 {
		return nil // Azure has no empty blocks
	}
	sum := p.MD5()
	b := block{base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%.8s-%05d-%x", u.token, p.Number, sum)), p.Size}
	err := u.s.retry.DoHTTP(ctx, time.Duration(p.Size)*time.Second/(64<<10), judge, func(ctx context.Context) error {
		_, err := u.s.blob(u.key).StageBlock(ctx, b.id, p.Body(), &blockblob.StageBlockOptions{TransactionalValidation: blob.TransferValidationTypeMD5(sum[:])})
		return err
	})
	if err != nil {
		return fmt.Errorf("block %d: %w", p.Number, brief(err))
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.blocks) < p.Number {
		u.blocks = append(u.blocks, block{})
	}
	u.blocks[p.Number-1] = b
	return nil
}

// settle finds out what has become of a blob whose last call failed: the answer to
// a call that succeeded may have been lost.
func (u *upload) settle(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p, perr := u.s.properties(ctx, u.key)
	switch {
	case perr == nil && meta(p.Metadata, metaUpload) == u.token:
		return nil
	case perr == nil && (isTaken(err) || isBadList(err)): // who commits drops the blocks of others
		return destination.ErrExist
	}
	return err
}

// confirm compares the blocks that Azure has committed with those that were sent,
// and removes the blob when they differ.
func (u *upload) confirm(ctx context.Context, sums parts.Sums) error {
	etag, err := u.own(ctx, sums)
	if err != nil && etag != nil && ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortWait)
		defer cancel()
		err = errors.Join(err, u.s.deleteIf(ctx, u.key, etag))
	}
	return err
}

// asks is how often Azure is asked for a blob that it does not know.
const asks = 3

// own returns nil when the blob is there as it was sent, and otherwise an error
// and, if it is ours, its tag.
func (u *upload) own(ctx context.Context, sums parts.Sums) (etag *azcore.ETag, err error) {
	for range asks {
		p, err := u.s.properties(ctx, u.key)
		if err != nil && !isMissing(err) {
			return nil, fmt.Errorf("ask for what was stored: %w", err)
		}
		if err == nil && meta(p.Metadata, metaUpload) == u.token {
			if p.ContentLength == nil || *p.ContentLength != sums.Size {
				return p.ETag, fmt.Errorf("%w: %d bytes were sent, it has another size", destination.ErrCorrupt, sums.Size)
			}
			return p.ETag, u.compare(ctx)
		}
	}
	return nil, fmt.Errorf("%w: the upload was answered with success, but the blob is not there", destination.ErrCorrupt)
}

// compare reads the list of committed blocks.
func (u *upload) compare(ctx context.Context) error {
	var got []*blockblob.Block
	err := u.s.do(ctx, func(ctx context.Context) error {
		res, err := u.s.blob(u.key).GetBlockList(ctx, blockblob.BlockListTypeCommitted, nil)
		got = res.CommittedBlocks
		return err
	})
	if err != nil {
		return fmt.Errorf("ask for the blocks that were stored: %w", err)
	}
	if len(got) != len(u.blocks) {
		return fmt.Errorf("%w: %d blocks were sent, it has %d", destination.ErrCorrupt, len(u.blocks), len(got))
	}
	for i, b := range u.blocks {
		if got[i].Name == nil || *got[i].Name != b.id || got[i].Size == nil || *got[i].Size != int64(b.size) {
			return fmt.Errorf("%w: block %d is another", destination.ErrCorrupt, i+1)
		}
	}
	return nil
}

// abortWait is how long cleaning up may take.
const abortWait = 30 * time.Second

func (u *upload) abort(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortWait)
	defer cancel()
	return u.s.Abort(ctx, destination.Upload{Key: u.key})
}
