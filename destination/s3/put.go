package s3

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/minio/minio-go/v7"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/parts"
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
	plan, err := parts.For(e, s.p.Limits)
	if err != nil {
		return destination.Info{}, err
	}
	if _, err := s.stat(ctx, key); err == nil {
		return destination.Info{}, destination.ErrExist // before hours of work
	} else if !isMissing(err) {
		return destination.Info{}, err
	}
	if err := s.probe(ctx); err != nil {
		return destination.Info{}, err
	}
	stream := parts.New(r, plan)
	defer stream.Close() //nolint:errcheck // memory
	u := &upload{s: s, key: key, token: uuid.NewString()}
	first, err := stream.Next(ctx)
	if err != nil {
		return destination.Info{}, err
	}
	if first.Last {
		err = u.one(ctx, first)
	} else {
		err = u.many(ctx, stream, first)
	}
	if err != nil {
		return destination.Info{}, err
	}
	sums := stream.Sums()
	if err := u.confirm(ctx, sums); err != nil {
		return destination.Info{}, err
	}
	return destination.Info{Key: key, Path: s.path(key), Size: sums.Size, SHA256: sums.SHA256, Mark: s.mark}, nil
}

// upload is an object on its way.
type upload struct {
	s     *Store
	key   string
	id    string // of the multipart upload
	token string
	etag  etags

	version string // as the answer says; "" in a bucket without versions, or if the answer was lost

	mu   sync.Mutex
	done []minio.CompletePart
}

// options are those with which an object comes into being.
func (u *upload) options() minio.PutObjectOptions {
	o := minio.PutObjectOptions{
		ContentType: "application/octet-stream", DisableContentSha256: true,
		UserMetadata: map[string]string{metaUpload: u.token},
	}
	if u.s.mark != "" {
		o.UserMetadata[metaMark] = u.s.mark
	}
	return o
}

func (u *upload) condition(o *minio.PutObjectOptions) {
	if u.s.p.Conditional {
		o.SetMatchETagExcept("*")
	}
}

// one stores an object that is one part.
func (u *upload) one(ctx context.Context, p *parts.Part) error {
	defer p.Release()
	o, sum := u.options(), ""
	u.condition(&o)
	if u.s.p.MD5 {
		sum = u.etag.add(p)
	} else {
		o.UserMetadata[headerSum] = encode(p.CRC64)
	}
	err := u.s.do(ctx, patience(p.Size), func(ctx context.Context) error {
		got, err := u.s.core.PutObject(ctx, u.s.bucket, u.s.name(u.key), p.Body(), int64(p.Size), sum, "", o)
		u.version = got.VersionID
		return err
	})
	return u.settle(ctx, err)
}

// many stores an object of several parts.
func (u *upload) many(ctx context.Context, stream *parts.Stream, first *parts.Part) (err error) {
	o := u.options()
	if !u.s.p.MD5 {
		o.UserMetadata[headerAlgorithm], o.UserMetadata[headerType] = "CRC64NVME", "FULL_OBJECT"
	}
	err = u.s.do(ctx, 0, func(ctx context.Context) (err error) {
		u.id, err = u.s.core.NewMultipartUpload(ctx, u.s.bucket, u.s.name(u.key), o)
		return err
	})
	if err != nil {
		first.Release()
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, u.abort(ctx))
		}
	}()
	if err := stream.Send(ctx, first, u.part); err != nil {
		return err
	}
	o = minio.PutObjectOptions{}
	u.condition(&o)
	if !u.s.p.MD5 {
		o.UserMetadata = map[string]string{headerSum: encode(stream.Sums().CRC64), headerType: "FULL_OBJECT"}
	}
	// Providers take their time to put thousands of parts together.
	err = u.s.do(ctx, 10*time.Minute, func(ctx context.Context) error {
		got, err := u.s.core.CompleteMultipartUpload(ctx, u.s.bucket, u.s.name(u.key), u.id, u.done, o)
		u.version = got.VersionID
		return err
	})
	return u.settle(ctx, err)
}

// part uploads a part.
func (u *upload) part(ctx context.Context, p *parts.Part) error {
	o := minio.PutObjectPartOptions{DisableContentSha256: true}
	c := minio.CompletePart{PartNumber: p.Number}
	if u.s.p.MD5 {
		o.Md5Base64 = u.etag.add(p)
	} else {
		c.ChecksumCRC64NVME = encode(p.CRC64)
		o.CustomHeader = http.Header{}
		o.CustomHeader.Set(headerSum, c.ChecksumCRC64NVME)
	}
	err := u.s.do(ctx, patience(p.Size), func(ctx context.Context) error {
		got, err := u.s.core.PutObjectPart(ctx, u.s.bucket, u.s.name(u.key), u.id, p.Number, p.Body(), int64(p.Size), o)
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

// settle finds out what has become of an object whose last call failed: the answer
// to a call that succeeded may have been lost.
func (u *upload) settle(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	st, ferr := u.find(ctx)
	switch {
	case ferr == nil && meta(st, metaUpload) == u.token:
		return nil
	case ferr == nil && isTaken(err):
		return destination.ErrExist
	}
	return err
}

// abortWait is how long cleaning up may take when the caller has given up already.
const abortWait = 30 * time.Second

func (u *upload) abort(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortWait)
	defer cancel()
	return u.s.Abort(ctx, destination.Upload{Key: u.key, ID: u.id})
}

// patience is how much longer than other calls one that sends n bytes may take: as
// if the line carried 64 KiB/s.
func patience(n int) time.Duration { return time.Duration(n) * time.Second / (64 << 10) }

func encode(crc uint64) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, crc))
}
