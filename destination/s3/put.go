package s3

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/parts"
	"github.com/holdfast-dev/holdfast/destination/internal/portable"
)

// Metadata of every object.
const (
	metaMark   = "holdfast-mark"
	metaUpload = "holdfast-upload" // tells an own object from one that somebody else has put meanwhile
)

// Headers of the checksum of whole objects.
const (
	headerSum       = "x-amz-checksum-crc64nvme"
	headerAlgorithm = "x-amz-checksum-algorithm"
	headerType      = "x-amz-checksum-type"
)

// upload is an object on its way. It implements [portable.Upload].
type upload struct {
	d    *driver
	name string
	tags portable.Tags
	plan parts.Plan

	id      string // of the multipart upload
	etag    etags
	version string // as the answer says; "" in a bucket without versions, or if the answer was lost

	mu   sync.Mutex
	done []minio.CompletePart
}

// NewUpload implements [portable.Driver].
func (d *driver) NewUpload(name string, tags portable.Tags, e destination.Estimate) (portable.Upload, error) {
	plan, err := parts.For(e, d.p.Limits)
	return &upload{d: d, name: name, tags: tags, plan: plan}, err
}

// Send implements [portable.Upload].
func (u *upload) Send(ctx context.Context, r io.Reader) (parts.Sums, error) {
	if err := u.d.tryChecksums(ctx); err != nil {
		return parts.Sums{}, err
	}
	stream := parts.New(r, u.plan)
	defer stream.Close() //nolint:errcheck // memory
	first, err := stream.Next(ctx)
	if err != nil {
		return parts.Sums{}, err
	}
	if first.Last {
		err = u.putSingle(ctx, first)
	} else {
		err = u.putMultipart(ctx, stream, first)
	}
	return stream.Sums(), err
}

// options are those with which an object comes into being.
func (u *upload) options() minio.PutObjectOptions {
	o := minio.PutObjectOptions{
		ContentType: "application/octet-stream", DisableContentSha256: true,
		UserMetadata: map[string]string{metaUpload: u.tags.Upload},
	}
	if u.tags.Mark != "" {
		o.UserMetadata[metaMark] = u.tags.Mark
	}
	return o
}

func (u *upload) condition(o *minio.PutObjectOptions) {
	if u.d.p.Conditional {
		o.SetMatchETagExcept("*")
	}
}

// putSingle stores an object that is one part.
func (u *upload) putSingle(ctx context.Context, p *parts.Part) error {
	defer p.Release()
	o, sum := u.options(), ""
	u.condition(&o)
	if u.d.p.MD5 {
		sum = u.etag.add(p)
	} else {
		o.UserMetadata[headerSum] = encode(p.CRC64)
	}
	err := u.d.do(ctx, uploadTimeout(p.Size), func(ctx context.Context) error {
		got, err := u.d.core.PutObject(ctx, u.d.bucket, u.name, p.Body(), int64(p.Size), sum, "", o)
		u.version = got.VersionID
		return err
	})
	return portable.Unknown(err)
}

// putMultipart stores an object of several parts.
func (u *upload) putMultipart(ctx context.Context, stream *parts.Stream, first *parts.Part) error {
	o := u.options()
	if !u.d.p.MD5 {
		o.UserMetadata[headerAlgorithm], o.UserMetadata[headerType] = "CRC64NVME", "FULL_OBJECT"
	}
	err := u.d.do(ctx, 0, func(ctx context.Context) (err error) {
		u.id, err = u.d.core.NewMultipartUpload(ctx, u.d.bucket, u.name, o)
		return err
	})
	if err != nil {
		first.Release()
		return err
	}
	if err := stream.Send(ctx, first, u.part); err != nil {
		return err
	}
	o = minio.PutObjectOptions{}
	u.condition(&o)
	if !u.d.p.MD5 {
		o.UserMetadata = map[string]string{headerSum: encode(stream.Sums().CRC64), headerType: "FULL_OBJECT"}
	}
	// Providers take their time to put thousands of parts together.
	err = u.d.do(ctx, 10*time.Minute, func(ctx context.Context) error {
		got, err := u.d.core.CompleteMultipartUpload(ctx, u.d.bucket, u.name, u.id, u.done, o)
		u.version = got.VersionID
		return err
	})
	return portable.Unknown(err)
}

// part uploads a part.
func (u *upload) part(ctx context.Context, p *parts.Part) error {
	o := minio.PutObjectPartOptions{DisableContentSha256: true}
	c := minio.CompletePart{PartNumber: p.Number}
	if u.d.p.MD5 {
		o.Md5Base64 = u.etag.add(p)
	} else {
		c.ChecksumCRC64NVME = encode(p.CRC64)
		o.CustomHeader = http.Header{}
		o.CustomHeader.Set(headerSum, c.ChecksumCRC64NVME)
	}
	err := u.d.do(ctx, uploadTimeout(p.Size), func(ctx context.Context) error {
		got, err := u.d.core.PutObjectPart(ctx, u.d.bucket, u.name, u.id, p.Number, p.Body(), int64(p.Size), o)
		c.ETag = got.ETag
		return err
	})
	if err != nil {
		return fmt.Errorf("part %d: %w", p.Number, err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.done) < p.Number {
		u.done = append(u.done, minio.CompletePart{})
	}
	u.done[p.Number-1] = c
	return nil
}

// Abort implements [portable.Upload].
func (u *upload) Abort(ctx context.Context) error {
	if u.id == "" {
		return nil
	}
	return u.d.abort(ctx, u.name, u.id)
}

// uploadTimeout is how much longer than other calls one that sends n bytes may take: as
// if the line carried 64 KiB/s.
func uploadTimeout(n int) time.Duration { return time.Duration(n) * time.Second / (64 << 10) }

func encode(crc uint64) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, crc))
}
