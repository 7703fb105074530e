package parts

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// buffer is memory outside of the garbage collector's sight, which would
// otherwise let the heap grow to twice its size before it looks.
type buffer struct {
	mu   sync.Mutex
	mem  []byte
	fill int
	gen  int // of what is in it
}

func newBuffer(size int) (*buffer, error) {
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("memory for a part of %d MiB: %w", size/mib, err)
	}
	return &buffer{mem: mem}, nil
}

// outdate makes every body of the buffer fail from now on.
func (b *buffer) outdate() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gen++
}

func (b *buffer) free() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gen++
	mem := b.mem
	b.mem = nil
	return unix.Munmap(mem)
}

var errReleased = errors.New("parts: the part was released")

// body reads a buffer. An HTTP transport may go on reading after its call has
// returned; by then the buffer may hold other bytes, or be gone.
type body struct {
	b   *buffer
	gen int
	off int64
}

// Read implements io.Reader.
func (r *body) Read(p []byte) (int, error) {
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	if r.gen != r.b.gen {
		return 0, errReleased
	}
	if r.off >= int64(r.b.fill) {
		return 0, io.EOF
	}
	n := copy(p, r.b.mem[r.off:r.b.fill])
	r.off += int64(n)
	return n, nil
}

// Seek implements io.Seeker.
func (r *body) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.off
	case io.SeekEnd:
		r.b.mu.Lock()
		offset += int64(r.b.fill)
		r.b.mu.Unlock()
	}
	if offset < 0 {
		return 0, errors.New("parts: negative offset")
	}
	r.off = offset
	return offset, nil
}

// Close implements io.Closer.
func (*body) Close() error { return nil }
