// Package pgcustom reads dumps in the custom format of pg_dump, uncompressed
// (pg_dump -Fc -Z0), as they stream by.
//
// Such a dump is a head, a table of contents, and blocks: the rows of a table, or
// large objects. pg_dump writes a block in chunks, each behind its length, and makes
// each row a chunk of its own. [Copy] joins them, which pg_restore reads as well:
// without the four million lengths of a dump of 1 GB it becomes smaller, compresses
// better and is restored faster. On its way Copy notes where which rows are, so that
// they can be given to COPY without pg_restore.
//
// The format is described nowhere but in PostgreSQL's source, in
// src/bin/pg_dump/pg_backup_archiver.c (WriteHead, WriteToc) and
// pg_backup_custom.c. Its versions 1.14 (PostgreSQL 12 to 15), 1.15 (16) and 1.16 (17)
// are known here.
package pgcustom

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ErrFormat is returned for what claims to be a dump and is none.
var ErrFormat = errors.New("not a dump in PostgreSQL's custom format")

// Dump is what a dump holds, as far as the rows of its tables are concerned.
type Dump struct {
	Encoding  string     // the statement that sets the encoding of the rows
	Tables    []Table    // those with rows, in the order of the dump
	Sequences []Sequence // and where they stand
	Entries   []Entry    // of the table of contents, in its order
}

// Entry is what the table of contents says that an entry is. The list of pg_restore
// writes the same in one line, in which names with spaces cannot be told apart.
type Entry struct {
	ID     int
	Kind   string // such as TABLE DATA
	Schema string // "" if it is in none
	Tag    string // its name; of a table's parts the table comes first
	Owner  string
}

// Sequence is what a dump says of a sequence.
type Sequence struct {
	Schema, Name string
	Last         int64 // its value
	Called       bool  // Last has been given out
}

// Table is a table with rows.
type Table struct {
	ID           int // of its rows in the list of pg_restore
	Schema, Name string
	Copy         string // the statement that takes the rows, without a semicolon
	Made         bool   // by the dump; the tables of extensions are not
	Offset       int64  // of the first chunk in what Copy has written
	Size         int64  // bytes of what Rows gives
	Count        int64  // of the rows
}

const (
	chunkSize  = 64 << 10 // what rows are joined to, with the length; a larger row is a chunk alone
	bufferSize = 256 << 10
	intBytes   = 5 // a sign and four bytes, the lowest first

	blockRows    = 1
	blockObjects = 3
)

var newline = []byte("\n")

// Copy copies a dump from src to dst, whose chunks it joins, and returns what is in
// it. A dump of an unknown version, or a compressed one, is copied as it is; the
// answer is then nil. It returns ErrFormat for what is no dump,
// io.ErrUnexpectedEOF for one that was cut off, and the errors of src and dst. Its
// memory does not grow with the rows.
func Copy(dst io.Writer, src io.Reader) (*Dump, error) {
	c := &copier{in: bufio.NewReaderSize(src, bufferSize), out: dst, buf: make([]byte, 0, bufferSize)}
	d, err := c.run()
	switch {
	case errors.Is(err, io.EOF):
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	return d, c.flush()
}

// copier reads a dump and writes it. Its methods that read write what they have read,
// but for chunks.
type copier struct {
	in      *bufio.Reader
	out     io.Writer
	buf     []byte // to be written
	written int64  // without what is in buf

	offsetBytes int // of an offset in the table of contents
	relkind     bool
	tables      map[int]*Table // by the id of their rows
	chunk       []byte         // begins with room for its length
	lines       int64          // ended in the block; a row is a line
}

func (c *copier) run() (*Dump, error) {
	known, err := c.head()
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, c.rest()
	}
	d, err := c.contents()
	if err != nil {
		return nil, err
	}
	for {
		kind, err := c.in.ReadByte()
		if errors.Is(err, io.EOF) {
			return d, nil
		}
		if err != nil {
			return nil, err
		}
		if err := c.block(kind, d); err != nil {
			return nil, err
		}
	}
}

// block copies the rows of a table, or large objects.
func (c *copier) block(kind byte, d *Dump) error {
	if err := c.write([]byte{kind}); err != nil {
		return err
	}
	id, err := c.int()
	if err != nil {
		return err
	}
	switch kind {
	case blockRows:
		at := c.written + int64(len(c.buf))
		c.lines = 0
		n, err := c.chunks()
		if t := c.tables[id]; t != nil && err == nil {
			t.Offset, t.Size, t.Count = at, n, c.lines-int64(strings.Count(end, "\n"))
			d.Tables = append(d.Tables, *t)
		}
		return err
	case blockObjects:
		for {
			if oid, err := c.int(); err != nil || oid == 0 {
				return err
			}
			if _, err := c.chunks(); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("%w: a block of the unknown kind %d", ErrFormat, kind)
}

// chunks joins chunks until the empty one that ends them, and returns how many bytes
// they had.
func (c *copier) chunks() (total int64, err error) {
	for {
		n, err := c.buffered()
		if err != nil {
			return 0, err
		}
		total += n
		size, err := c.length()
		if err != nil {
			return 0, err
		}
		if !c.fits(size) || size == 0 {
			if err := c.join(); err != nil {
				return 0, err
			}
		}
		if size == 0 {
			return total, c.write(make([]byte, intBytes))
		}
		total += int64(size)
		if c.fits(size) {
			at := len(c.chunk)
			c.chunk = c.chunk[:at+size]
			_, err = io.ReadFull(c.in, c.chunk[at:])
		} else {
			err = errors.Join(c.write(appendInt(nil, size)), c.copyN(size))
		}
		if err != nil {
			return 0, err
		}
	}
}

// buffered joins the chunks that lie in the buffer of the input whole, and returns
// how many bytes they had.
func (c *copier) buffered() (total int64, err error) {
	b, err := c.in.Peek(c.in.Buffered())
	if err != nil {
		return 0, err
	}
	at := 0
	for len(b)-at >= intBytes {
		n := parseInt(b[at:])
		if n <= 0 || n > len(b)-at-intBytes || intBytes+n > chunkSize {
			break // for the others to see
		}
		if !c.fits(n) {
			if err := c.join(); err != nil {
				return 0, err
			}
		}
		at += intBytes
		c.chunk = append(c.chunk, b[at:at+n]...)
		at += n
		total += int64(n)
	}
	_, err = c.in.Discard(at)
	return total, err
}

// fits reports whether there is room for n bytes more in the chunk.
func (c *copier) fits(n int) bool { return len(c.chunk)+n <= chunkSize }

// length reads the length of a chunk and does not write it.
func (c *copier) length() (int, error) {
	b, err := c.in.Peek(intBytes)
	if err != nil {
		return 0, err
	}
	n := parseInt(b)
	if n < 0 {
		return 0, fmt.Errorf("%w: a chunk of %d bytes", ErrFormat, n)
	}
	_, err = c.in.Discard(intBytes)
	return n, err
}

// join writes what was joined.
func (c *copier) join() error {
	n := len(c.chunk) - intBytes
	if n == 0 {
		return nil
	}
	appendInt(c.chunk[:0], n)
	c.lines += int64(bytes.Count(c.chunk[intBytes:], newline))
	if err := c.flush(); err != nil {
		return err
	}
	_, err := c.out.Write(c.chunk)
	c.written += int64(len(c.chunk))
	c.chunk = c.chunk[:intBytes]
	return err
}

func (c *copier) write(b []byte) error {
	if len(c.buf)+len(b) > cap(c.buf) {
		if err := c.flush(); err != nil {
			return err
		}
	}
	c.buf = append(c.buf, b...)
	return nil
}

func (c *copier) flush() error {
	n, err := c.out.Write(c.buf)
	c.written += int64(n)
	c.buf = c.buf[:0]
	return err
}

// copyN copies n bytes.
func (c *copier) copyN(n int) error {
	for n > 0 {
		b, err := c.in.Peek(min(n, bufferSize/2))
		if err != nil {
			return err
		}
		if err := c.write(b); err != nil {
			return err
		}
		c.lines += int64(bytes.Count(b, newline))
		n -= len(b)
		if _, err := c.in.Discard(len(b)); err != nil {
			return err
		}
	}
	return nil
}

// rest copies all that is left.
func (c *copier) rest() error {
	if err := c.flush(); err != nil {
		return err
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{c.out}, struct{ io.Reader }{c.in}, c.buf[:cap(c.buf)])
	return err
}

func parseInt(b []byte) int {
	n := int(b[1]) | int(b[2])<<8 | int(b[3])<<16 | int(b[4])<<24
	if b[0] != 0 {
		return -n
	}
	return n
}

func appendInt(b []byte, n int) []byte {
	return append(b, 0, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
}

// int reads a number.
func (c *copier) int() (int, error) {
	b, err := c.in.Peek(intBytes)
	if err != nil {
		return 0, err
	}
	n := parseInt(b)
	return n, c.copyN(intBytes)
}

// maxText is above what a COPY of a table with 1,600 columns has.
const maxText = 1 << 20

// text reads a text; there is false where pg_dump has none.
func (c *copier) text() (s string, there bool, err error) {
	n, err := c.int()
	if err != nil || n < 0 {
		return "", false, err
	}
	if n > maxText {
		return "", false, fmt.Errorf("%w: a name of %d bytes", ErrFormat, n)
	}
	b := make([]byte, 0, min(n, 4<<10))
	for len(b) < n {
		p, err := c.in.Peek(min(n-len(b), 4<<10))
		if err != nil {
			return "", false, err
		}
		b = append(b, p...)
		if err := c.copyN(len(p)); err != nil {
			return "", false, err
		}
	}
	return string(b), true, nil
}

// skip reads a text that is of no interest.
func (c *copier) skip() error {
	n, err := c.int()
	if err != nil || n < 0 {
		return err
	}
	return c.copyN(n)
}

// number reads a number that pg_dump writes as a text.
func (c *copier) number() (n int, there bool, err error) {
	s, there, err := c.text()
	if err != nil || !there {
		return 0, there, err
	}
	if n, err = strconv.Atoi(s); err != nil {
		return 0, true, fmt.Errorf("%w: %q is no number", ErrFormat, s)
	}
	return n, true, nil
}
