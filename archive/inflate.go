package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
	"slices"

	"github.com/holdfast-dev/holdfast/archive/internal/inflate"
)

// inflater decompresses members side by side that say how long they are. Its
// goroutines end by themselves, each with its member, so it need not be closed.
type inflater struct {
	queue []*inflated // being decompressed, in their order
	spare []*inflated
}

// inflated is a member that is being decompressed.
type inflated struct {
	start int64 // offset of its first byte
	in    []byte
	out   []byte
	err   error
	last  bool          // it could not be read
	ready chan struct{} // gets a value when out and err are set

	decoder inflate.Decoder
}

func newInflater() *inflater {
	f := &inflater{}
	for range 2 * min(4, runtime.GOMAXPROCS(0)) {
		f.spare = append(f.spare, &inflated{ready: make(chan struct{}, 1)})
	}
	return f
}

// fill takes in members that follow each other, as many as there is room for.
func (f *inflater) fill(s *stream) {
	for len(f.spare) > 0 {
		if n := len(f.queue); n > 0 && f.queue[n-1].last {
			return // nothing follows a member that could not be read
		}
		head, _ := s.r.Peek(len(gzipHeader)) // an error shows when it is read
		length, ok := parseLength(head)
		if !ok {
			return
		}
		x := f.spare[len(f.spare)-1]
		f.spare, f.queue = f.spare[:len(f.spare)-1], append(f.queue, x)
		x.start, x.out, x.err = s.src.n-int64(s.r.Buffered()), x.out[:0], nil
		if length < len(gzipHeader)+2+gzipTail || length > maxMember {
			x.fail(fmt.Errorf("%w: a member says that it has %d bytes", ErrCorrupt, length))
			return
		}
		x.in = slices.Grow(x.in[:0], length)[:length]
		if _, err := io.ReadFull(s.r, x.in); err != nil {
			x.fail(s.fault(eof(err)))
			return
		}
		go func() {
			x.err = x.inflate()
			x.ready <- struct{}{}
		}()
	}
}

// eof makes one error of the two that say that something ends early.
func eof(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return err
}

// fail gives up a member.
func (x *inflated) fail(err error) {
	x.err, x.last = err, true
	x.ready <- struct{}{}
}

// inflate decompresses one member, whose head was parsed, and checks its sum.
func (x *inflated) inflate() error {
	if x.out == nil {
		x.out = make([]byte, memberSize+inflate.Slack)
	}
	body := x.in[len(gzipHeader):]
	n, used, err := x.decoder.Decode(x.out[:cap(x.out)], body)
	x.out = x.out[:n]
	tail := body[used:]
	switch {
	case errors.Is(err, inflate.ErrRoom), n > memberSize:
		x.out = x.out[:0]
		return fmt.Errorf("%w: a member holds more than %d bytes", ErrCorrupt, memberSize)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	case len(tail) != gzipTail:
		return fmt.Errorf("%w: a member is not as long as it says", ErrCorrupt)
	case binary.LittleEndian.Uint32(tail) != crc32.ChecksumIEEE(x.out) || binary.LittleEndian.Uint32(tail[4:]) != uint32(n):
		return fmt.Errorf("%w: the sum of a member is wrong", ErrCorrupt)
	}
	return nil
}

// gzipTail is the length of the sum and the size behind a member.
const gzipTail = 8

// next returns the oldest member, decompressed, or nil if there is none.
func (f *inflater) next(s *stream) *inflated {
	f.fill(s)
	if len(f.queue) == 0 {
		return nil
	}
	x := f.queue[0]
	<-x.ready
	f.queue = f.queue[1:]
	return x
}

// done takes back a member that was read.
func (f *inflater) done(x *inflated) { f.spare = append(f.spare, x) }
