package parts

import (
	"crypto/md5" //nolint:gosec // what providers check in Content-MD5
	"errors"
	"io"
	"sync"
)

// Part is a piece of a stream.
type Part struct {
	Number int // from 1
	Size   int // bytes
	Last   bool
	CRC64  uint64 // CRC-64/NVME

	s *Stream

	mu       sync.Mutex
	chunks   [][]byte // all full but the last
	released bool
}

// MD5 returns the MD5 sum.
func (p *Part) MD5() (sum [md5.Size]byte) {
	h := md5.New() //nolint:gosec // what providers check in Content-MD5
	for _, c := range p.chunks {
		h.Write(c)
	}
	h.Sum(sum[:0])
	return sum
}

// Release gives the memory back.
func (p *Part) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.released = true
	for _, c := range p.chunks {
		p.s.free <- c[:chunk]
	}
	p.chunks = nil
}

// Body reads the part from its beginning. It fails when the part has been
// released.
func (p *Part) Body() io.ReadSeekCloser { return &body{p: p} }

var errReleased = errors.New("parts: the part was released")

// body reads a part. An HTTP transport may go on reading after its call has
// returned; by then the memory may hold other bytes, or be gone.
type body struct {
	p   *Part
	off int64
}

// Read implements io.Reader.
func (r *body) Read(b []byte) (int, error) {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	if r.p.released {
		return 0, errReleased
	}
	if r.off >= int64(r.p.Size) {
		return 0, io.EOF
	}
	n := copy(b, r.p.chunks[r.off/chunk][r.off%chunk:])
	r.off += int64(n)
	return n, nil
}

// Seek implements io.Seeker.
func (r *body) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.off
	case io.SeekEnd:
		offset += int64(r.p.Size)
	}
	if offset < 0 {
		return 0, errors.New("parts: negative offset")
	}
	r.off = offset
	return offset, nil
}

// Close implements io.Closer.
func (*body) Close() error { return nil }
