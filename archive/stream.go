package archive

import (
	"bufio"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/gzip"
)

// stream reads gzip members one after another and knows where each began.
type stream struct {
	src     *source
	r       *bufio.Reader // of src; the decompressor does not read beyond its member
	ahead   *inflater
	cur     *inflated // being read, if the current member is one that was decompressed ahead
	rest    []byte    // of cur
	zr      *gzip.Reader
	start   int64 // of the current member, or -1 between two
	trailer int64 // what the trailer says, or -1 before it was met
	err     error // sticks
}

// source counts what is taken from the underlying reader and keeps its error, so
// that a broken connection is told from a broken archive.
type source struct {
	r   io.Reader
	n   int64
	sum hash.Hash // of what was read; nil if nobody asks
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	if s.sum != nil {
		s.sum.Write(p[:n])
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// newStream reads members from r, whose first byte lies at offset.
func newStream(r io.Reader, offset int64) *stream {
	src := &source{r: r, n: offset}
	return &stream{src: src, r: bufio.NewReaderSize(src, 64<<10), ahead: newInflater(), start: -1, trailer: -1}
}

// Read returns io.EOF where r ends after a whole member.
func (s *stream) Read(p []byte) (int, error) {
	for s.err == nil {
		if s.start < 0 {
			s.err = s.next()
			continue
		}
		if s.cur != nil {
			if len(s.rest) > 0 {
				n := copy(p, s.rest)
				s.rest = s.rest[n:]
				return n, nil
			}
			s.err = s.cur.err
			s.ahead.done(s.cur)
			s.cur, s.start = nil, -1
			continue
		}
		n, err := s.zr.Read(p)
		if errors.Is(err, io.EOF) {
			err, s.start = nil, -1 // the next call begins the next member
		}
		s.err = s.fault(err)
		if n > 0 || s.err != nil {
			return n, s.err
		}
	}
	return 0, s.err
}

// next begins a member.
func (s *stream) next() error {
	if s.trailer >= 0 {
		if _, err := s.r.ReadByte(); errors.Is(err, io.EOF) {
			return io.EOF
		}
		return s.fault(fmt.Errorf("%w: data after the trailer", ErrCorrupt))
	}
	if s.cur = s.ahead.next(s); s.cur != nil {
		s.start, s.rest = s.cur.start, s.cur.out
		return nil
	}
	if _, err := s.r.Peek(1); errors.Is(err, io.EOF) {
		return io.EOF
	}
	s.start = s.src.n - int64(s.r.Buffered())
	if s.zr == nil {
		zr, err := gzip.NewReader(s.r)
		if err != nil {
			return s.fault(err)
		}
		s.zr = zr
	} else if err := s.zr.Reset(s.r); err != nil {
		return s.fault(err)
	}
	s.zr.Multistream(false)
	if x := s.zr.Extra; len(x) >= 2 && string(x[:2]) == "HF" {
		return s.end()
	}
	return nil
}

// end takes the trailer in.
func (s *stream) end() error {
	n, err := io.Copy(io.Discard, io.LimitReader(s.zr, 1))
	if err != nil {
		return s.fault(err)
	}
	x := append([]byte{0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, byte(len(s.zr.Extra)), 0}, s.zr.Extra...)
	off, ok := parseTrailer(append(x, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0))
	if n != 0 || !ok {
		return fmt.Errorf("%w: bad trailer", ErrCorrupt)
	}
	s.trailer, s.start = off, -1
	return nil
}

// fault tells errors of the underlying reader from damage.
func (s *stream) fault(err error) error {
	switch {
	case s.src.err != nil:
		return s.src.err
	case err == nil || errors.Is(err, ErrCorrupt):
		return err
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: ends early", ErrCorrupt)
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}
