package azure

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/parts"
	"github.com/holdfast-dev/holdfast/destination/internal/portable"
)

// Metadata of every blob. Azure wants names that are identifiers of C#.
const (
	metaMark    = "holdfast_mark"
	metaUpload  = "holdfast_upload"  // tells an own blob from one that somebody else has put meanwhile
	metaAborted = "holdfast_aborted" // see Abort
)

// upload is a blob on its way. It implements [portable.Upload].
type upload struct {
	d    *driver
	name string
	tags portable.Tags
	plan parts.Plan

	mu     sync.Mutex
	blocks []block
}

// block is a part that was staged.
type block struct {
	id   string
	size int
}

// NewUpload implements [portable.Driver].
func (d *driver) NewUpload(name string, tags portable.Tags, e destination.Estimate) (portable.Upload, error) {
	plan, err := parts.For(e, limits)
	return &upload{d: d, name: name, tags: tags, plan: plan}, err
}

// Send implements [portable.Upload]: it stages all parts and commits them.
func (u *upload) Send(ctx context.Context, r io.Reader) (parts.Sums, error) {
	stream := parts.New(r, u.plan)
	defer stream.Close() //nolint:errcheck // memory
	if err := stream.Send(ctx, nil, u.stage); err != nil {
		return parts.Sums{}, err
	}
	var ids []string
	for _, b := range u.blocks {
		ids = append(ids, b.id)
	}
	err := u.d.do(ctx, 0, func(ctx context.Context) error {
		_, err := u.d.blob(u.name).CommitBlockList(ctx, ids, &blockblob.CommitBlockListOptions{
			HTTPHeaders: &blob.HTTPHeaders{BlobContentType: new("application/octet-stream")},
			Metadata:    map[string]*string{metaUpload: &u.tags.Upload, metaMark: &u.tags.Mark}, AccessConditions: ifNew(),
		})
		return err
	})
	return stream.Sums(), portable.Unknown(err)
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
	b := block{base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%.8s-%05d-%x", u.tags.Upload, p.Number, sum)), p.Size}
	err := u.d.do(ctx, uploadTimeout(p.Size), func(ctx context.Context) error {
		_, err := u.d.blob(u.name).StageBlock(ctx, b.id, p.Body(), &blockblob.StageBlockOptions{TransactionalValidation: blob.TransferValidationTypeMD5(sum[:])})
		return err
	})
	if err != nil {
		return fmt.Errorf("block %d: %w", p.Number, err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.blocks) < p.Number {
		u.blocks = append(u.blocks, block{})
	}
	u.blocks[p.Number-1] = b
	return nil
}

// uploadTimeout is how much longer than other calls one that sends n bytes may take:
// as if the line carried 64 KiB/s.
func uploadTimeout(n int) time.Duration { return time.Duration(n) * time.Second / (64 << 10) }

// Find implements [portable.Upload].
func (u *upload) Find(ctx context.Context) (portable.Object, error) { return u.d.Stat(ctx, u.name) }

// Confirm implements [portable.Upload]: it reads the list of committed blocks.
func (u *upload) Confirm(ctx context.Context, _ portable.Object, _ parts.Sums) error {
	var got []*blockblob.Block
	err := u.d.do(ctx, 0, func(ctx context.Context) error {
		res, err := u.d.blob(u.name).GetBlockList(ctx, blockblob.BlockListTypeCommitted, nil)
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

// Remove implements [portable.Upload].
func (u *upload) Remove(ctx context.Context, o portable.Object) error {
	if o.Version == "" {
		return nil // nobody knows whose blob is there
	}
	return u.d.deleteIf(ctx, u.name, new(azcore.ETag(o.Version)))
}

// Abort implements [portable.Upload].
func (u *upload) Abort(ctx context.Context) error {
	if len(u.blocks) == 0 {
		return nil
	}
	return u.d.abort(ctx, u.name)
}
