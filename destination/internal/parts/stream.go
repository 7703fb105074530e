package parts

import (
	"context"
	"crypto/md5" //nolint:gosec // what providers check in Content-MD5
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"hash/crc32"
	"io"

	"github.com/minio/crc64nvme"
	"golang.org/x/sync/errgroup"
)

// Stream cuts a reader into parts. One goroutine may use it.
type Stream struct {
	r    io.Reader
	plan Plan
	free chan *buffer
	made []*buffer
	n    int // parts so far
	over bool

	sha   hash.Hash
	crc   uint64
	crc32 uint32
	size  int64
}

// New returns the parts of r. The caller must call [Stream.Close].
func New(r io.Reader, p Plan) *Stream {
	return &Stream{r: r, plan: p, free: make(chan *buffer, p.Buffers), sha: sha256.New()}
}

// Sums are those of what was read.
type Sums struct {
	Size   int64
	SHA256 string // lower-case hex
	CRC64  uint64 // CRC-64/NVME
	CRC32C uint32
}

// Sums returns the sums of all parts so far.
func (s *Stream) Sums() Sums {
	return Sums{Size: s.size, SHA256: hex.EncodeToString(s.sha.Sum(nil)), CRC64: s.crc, CRC32C: s.crc32}
}

// Part is a piece of a stream.
type Part struct {
	Number int // from 1
	Size   int // bytes
	Last   bool
	CRC64  uint64 // CRC-64/NVME
	s      *Stream
	b      *buffer
}

// Body reads the part from its beginning. It fails when the part has been
// released.
func (p *Part) Body() io.ReadSeekCloser { return &body{b: p.b, gen: p.b.gen} }

// MD5 returns the MD5 sum.
func (p *Part) MD5() [md5.Size]byte { return md5.Sum(p.b.mem[:p.Size]) } //nolint:gosec // what providers check in Content-MD5

// Release gives the memory back.
func (p *Part) Release() {
	p.b.outdate()
	p.s.free <- p.b
}

// Next reads the next part, when there is memory for it. It returns io.EOF behind
// the last one; an empty stream has one empty part. The caller must release it.
func (s *Stream) Next(ctx context.Context) (*Part, error) {
	if s.over {
		return nil, io.EOF
	}
	b, err := s.buffer(ctx)
	if err != nil {
		return nil, err
	}
	n, err := s.fill(ctx, b.mem)
	if err != nil || n == 0 && s.n > 0 {
		s.free <- b
		if err == nil {
			err = io.EOF
		}
		return nil, err
	}
	if s.n++; s.n > s.plan.limits.Parts {
		s.free <- b
		return nil, s.plan.tooLarge()
	}
	b.fill = n
	p := &Part{Number: s.n, Size: n, Last: s.over, CRC64: crc64nvme.Checksum(b.mem[:n]), s: s, b: b}
	s.add(b.mem[:n])
	return p, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (s *Stream) add(p []byte) {
	s.sha.Write(p)
	s.crc = crc64nvme.Update(s.crc, p)
	s.crc32 = crc32.Update(s.crc32, castagnoli, p)
	s.size += int64(len(p))
}

// fill reads until mem is full or the stream ends.
func (s *Stream) fill(ctx context.Context, mem []byte) (n int, err error) {
	for n < len(mem) {
		if ctx.Err() != nil {
			return n, ctx.Err()
		}
		m, err := s.r.Read(mem[n:min(len(mem), n+mib)])
		n += m
		if errors.Is(err, io.EOF) {
			s.over = true
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// buffer waits for one that is free.
func (s *Stream) buffer(ctx context.Context) (*buffer, error) {
	if len(s.made) < s.plan.Buffers && len(s.free) == 0 {
		b, err := newBuffer(s.plan.Size)
		if err == nil {
			s.made = append(s.made, b)
		}
		return b, err
	}
	select {
	case b := <-s.free:
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Send calls send for first, unless it is nil, and every part that follows, for as
// many side by side as there are buffers, and releases them. It returns when all
// calls have returned, with the first error.
func (s *Stream) Send(ctx context.Context, first *Part, send func(context.Context, *Part) error) error {
	g, ctx := errgroup.WithContext(ctx)
	pass := func(p *Part) {
		g.Go(func() error {
			defer p.Release()
			return send(ctx, p)
		})
	}
	if first != nil {
		pass(first)
	}
	p, reading := s.Next(ctx)
	for ; reading == nil; p, reading = s.Next(ctx) {
		pass(p)
	}
	if errors.Is(reading, io.EOF) {
		return g.Wait()
	}
	if err := g.Wait(); err != nil && errors.Is(reading, context.Canceled) {
		return err // which made Next give up
	}
	return reading
}

// Close frees the memory. Bodies that are still read fail from now on.
func (s *Stream) Close() error {
	var errs []error
	for _, b := range s.made {
		errs = append(errs, b.free())
	}
	return errors.Join(errs...)
}
