package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress"
	"github.com/klauspost/compress/flate"
)

// members is a stream of gzip members (RFC 1952) that are compressed side by
// side and written in order.
type members struct {
	w    io.Writer
	cur  *member
	free chan *member // bounds the memory
	work chan *member
	line chan *member // in the order of the stream
	wg   sync.WaitGroup

	mu     sync.Mutex
	offset int64 // written so far
	err    error // the first one of w
}

// member is one gzip member on its way.
type member struct {
	in   []byte
	cuts []int // places in in where another kind of data may begin, ascending
	out  bytes.Buffer
	done chan struct{} // gets a value when out is ready
	cut  chan struct{} // closed when everything before it is written, if not nil
	sum  string        // SHA-256 of what was written since the cut before; set before cut is closed
}

// newMembers starts the goroutines; close ends them.
func newMembers(w io.Writer, workers int) *members {
	n := 2*workers + 1
	m := &members{w: w, free: make(chan *member, n), work: make(chan *member, n), line: make(chan *member, n)}
	for range n {
		m.free <- &member{in: make([]byte, 0, memberSize), done: make(chan struct{}, 1)}
	}
	for range workers {
		m.wg.Go(m.compress)
	}
	m.wg.Go(m.emit)
	return m
}

// Write adds p to the stream. It returns the first error of the underlying
// writer.
func (m *members) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if m.cur == nil {
			m.cur = <-m.free
		}
		k := min(len(p), memberSize-len(m.cur.in))
		m.cur.in, p = append(m.cur.in, p[:k]...), p[k:]
		if len(m.cur.in) == memberSize {
			m.submit()
		}
	}
	return n, m.failed()
}

// mark says that what follows is of another kind: the content of a file after its
// head, or the next head.
func (m *members) mark() {
	if m.cur != nil {
		m.cur.cuts = append(m.cur.cuts, len(m.cur.in))
	}
}

func (m *members) submit() {
	if m.cur == nil {
		return
	}
	m.line <- m.cur
	m.work <- m.cur
	m.cur = nil
}

// cut ends the current member, waits until everything is written and returns
// where the next member will begin, and the SHA-256 of what was written since the
// cut before.
func (m *members) cut() (offset int64, sum string, err error) {
	m.submit()
	c := &member{cut: make(chan struct{})}
	m.line <- c
	<-c.cut
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.offset, c.sum, m.err
}

// close writes what is left and ends the goroutines.
func (m *members) close() error {
	m.submit()
	close(m.work)
	close(m.line)
	m.wg.Wait()
	return m.failed()
}

func (m *members) failed() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

func (m *members) emit() {
	sum := sha256.New()
	for b := range m.line {
		if b.cut != nil {
			b.sum = hex.EncodeToString(sum.Sum(nil))
			sum.Reset()
			close(b.cut)
			continue
		}
		<-b.done
		if m.failed() == nil {
			n, err := m.w.Write(b.out.Bytes())
			sum.Write(b.out.Bytes())
			m.mu.Lock()
			m.offset, m.err = m.offset+int64(n), err
			m.mu.Unlock()
		}
		b.in, b.cuts = b.in[:0], b.cuts[:0]
		b.out.Reset()
		m.free <- b
	}
}

// Levels of compression. What shrinks well, such as JSON with the same keys in
// every row, costs little time to squeeze harder and then becomes a quarter
// smaller; UUIDs and hashes would only cost time.
const (
	usualLevel  = 2
	strongLevel = 5
	strongBelow = 5 // a member after one that shrank to a fifth is squeezed harder
)

func (m *members) compress() {
	usual, _ := flate.NewWriter(nil, usualLevel) // a valid level has no error
	strong, _ := flate.NewWriter(nil, strongLevel)
	z := usual
	for b := range m.work {
		deflate(&b.out, z, b.in, b.cuts)
		if z = usual; b.out.Len()*strongBelow < len(b.in) {
			z = strong
		}
		b.done <- struct{}{}
	}
}

// gzipHeader has an extra field (RFC 1952, 2.3.1.1) with room for the length of the
// member, so that a reader can find the next one and decompress both side by side.
var gzipHeader = []byte{0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 8, 0, 'H', 'M', 4, 0, 0, 0, 0, 0}

const lengthAt = 16 // of the member's length in gzipHeader

// maxMember is what a member with a length in its head may have at the most.
const maxMember = memberSize + memberSize/4 + 4096

// parseLength returns the length that the head of a member holds, and false if it
// has none.
func parseLength(head []byte) (int, bool) {
	if len(head) < len(gzipHeader) || !bytes.Equal(head[:lengthAt], gzipHeader[:lengthAt]) {
		return 0, false
	}
	return int(binary.LittleEndian.Uint32(head[lengthAt:])), true
}

// deflate writes one gzip member with the content of in into out, which is empty.
// Stretches that would
// not become smaller are stored as they are, which costs next to no time. Both
// kinds may only change at a cut, or at every chunk after one.
func deflate(out *bytes.Buffer, z *flate.Writer, in []byte, cuts []int) {
	out.Write(gzipHeader)
	begin, squeeze := 0, true
	for at := 0; at < len(in); {
		for len(cuts) > 0 && cuts[0] <= at {
			cuts = cuts[1:]
		}
		end := min(at+chunk, len(in))
		if len(cuts) > 0 {
			end = min(end, cuts[0])
		}
		if p := promising(in[at:end]); p != squeeze {
			block(out, z, in[begin:at], squeeze)
			begin, squeeze = at, p
		}
		at = end
	}
	block(out, z, in[begin:], squeeze)
	out.Write([]byte{3, 0}) // the last block: empty
	var tail [8]byte
	binary.LittleEndian.PutUint32(tail[:], crc32.ChecksumIEEE(in))
	binary.LittleEndian.PutUint32(tail[4:], uint32(len(in)))
	out.Write(tail[:])
	binary.LittleEndian.PutUint32(out.Bytes()[lengthAt:], uint32(out.Len()))
}

const (
	chunk  = 16 << 10 // what is stored or squeezed as one
	sample = 2 << 10  // of a chunk, looked at to decide which

	// compressible is the estimate from which on squeezing pays, see
	// [compress.Estimate].
	compressible = 0.02
)

// promising estimates from the middle of b, since the front of a file is often a
// header, whether b would become smaller.
func promising(b []byte) bool {
	if len(b) > 2*sample {
		b = b[len(b)/2 : len(b)/2+sample]
	}
	return len(b) < 512 || compress.Estimate(b) > compressible
}

// block writes b squeezed, or stored.
func block(out *bytes.Buffer, z *flate.Writer, b []byte, squeeze bool) {
	switch {
	case len(b) == 0:
	case squeeze:
		z.Reset(out) // an empty window: it must not refer to what was stored
		_, _ = z.Write(b)
		_ = z.Flush() // ends on a byte; a bytes.Buffer has no errors
	default:
		store(out, b)
	}
}

// store writes b as stored deflate blocks (RFC 1951, 3.2.4).
func store(out *bytes.Buffer, b []byte) {
	for len(b) > 0 {
		n := min(len(b), 0xffff)
		out.Write([]byte{0, byte(n), byte(n >> 8), byte(^n), byte(^n >> 8)})
		out.Write(b[:n])
		b = b[n:]
	}
}

// trailer returns the empty gzip member that ends an archive. Its extra field
// holds the offset of the member with the manifest.
func trailer(manifest int64) []byte {
	b := []byte{0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 12, 0, 'H', 'F', 8, 0}
	b = binary.LittleEndian.AppendUint64(b, uint64(manifest))
	return append(b, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0)
}

// parseTrailer returns the offset that a trailer holds, and false if b is none.
func parseTrailer(b []byte) (int64, bool) {
	if len(b) != trailerBytes {
		return 0, false
	}
	off := int64(binary.LittleEndian.Uint64(b[16:]))
	return off, off >= 0 && bytes.Equal(b, trailer(off))
}
