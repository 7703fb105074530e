package parts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/minio/crc64nvme"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Stream cuts a reader into parts. One goroutine may use it.
type Stream struct {
	r    io.Reader
	plan Plan
	free chan []byte // chunks that nobody uses
	made [][]byte    // all chunks
	n    int         // parts so far
	over bool

	sha   hash.Hash
	crc   uint64
	crc32 uint32
	size  int64
}

// New returns the parts of r. The caller must call [Stream.Close].
func New(r io.Reader, p Plan) *Stream {
	return &Stream{r: r, plan: p, free: make(chan []byte, p.Chunks), sha: sha256.New()}
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

// Next reads the next part, as there is memory for it. It returns io.EOF behind the
// last one; an empty stream has one empty part. The caller must release it.
func (s *Stream) Next(ctx context.Context) (*Part, error) {
	if s.over {
		return nil, io.EOF
	}
	p := &Part{Number: s.n + 1, s: s}
	for p.Size < s.plan.Size && !s.over {
		if err := s.chunk(ctx, p); err != nil {
			p.Release()
			return nil, err
		}
	}
	switch {
	case p.Size == 0 && s.n > 0:
		p.Release()
		return nil, io.EOF
	case p.Number > s.plan.limits.Parts:
		p.Release()
		return nil, s.plan.tooLarge()
	}
	s.n, p.Last = p.Number, s.over
	return p, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chunk reads the next chunk of a part.
func (s *Stream) chunk(ctx context.Context, p *Part) error {
	mem, err := s.memory(ctx)
	if err != nil {
		return err
	}
	n, err := s.fill(ctx, mem)
	mem = mem[:n]
	p.chunks = append(p.chunks, mem)
	p.Size += n
	p.CRC64 = crc64nvme.Update(p.CRC64, mem)
	s.sha.Write(mem)
	s.crc = crc64nvme.Update(s.crc, mem)
	s.crc32 = crc32.Update(s.crc32, castagnoli, mem)
	s.size += int64(n)
	return err
}

// fill reads until mem is full or the stream ends.
func (s *Stream) fill(ctx context.Context, mem []byte) (n int, err error) {
	for n < len(mem) {
		if ctx.Err() != nil {
			return n, ctx.Err()
		}
		m, err := s.r.Read(mem[n:])
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

// memory waits for a chunk that nobody uses. Chunks lie outside of the garbage
// collector's sight, which would otherwise let the heap grow to twice their size
// before it looks.
func (s *Stream) memory(ctx context.Context) ([]byte, error) {
	select {
	case c := <-s.free:
		return c, nil
	default:
	}
	if len(s.made) < s.plan.Chunks {
		c, err := unix.Mmap(-1, 0, chunk, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return nil, fmt.Errorf("memory for parts: %w", err)
		}
		s.made = append(s.made, c)
		return c, nil
	}
	select {
	case c := <-s.free:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Send calls send for first, unless it is nil, and every part that follows, for as
// many side by side as there is memory, and releases them. It returns when all
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

// Close frees the memory. All parts must have been released; their bodies fail.
func (s *Stream) Close() error {
	var errs []error
	for _, c := range s.made {
		errs = append(errs, unix.Munmap(c))
	}
	s.made = nil
	return errors.Join(errs...)
}
