package pgcustom

import (
	"fmt"
	"io"
)

// end is what pg_dump writes behind the rows.
const end = "\\.\n\n\n"

// Empty reports whether the table has no rows.
func (t Table) Empty() bool { return t.Size <= int64(len(end)) }

// Rows returns the rows of a table out of what Copy has written, as COPY takes them,
// with the line that ends them. Its reader returns ErrFormat for a dump of which the
// table is not.
func (t Table) Rows(dump io.ReaderAt) io.Reader {
	return &rows{dump: dump, at: t.Offset, left: t.Size}
}

type rows struct {
	dump  io.ReaderAt
	at    int64
	left  int64 // of all chunks
	chunk int   // what is left of this one
}

// Read implements io.Reader.
func (r *rows) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	if r.chunk == 0 {
		var b [intBytes]byte
		if _, err := r.dump.ReadAt(b[:], r.at); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		if r.chunk = parseInt(b[:]); r.chunk <= 0 || int64(r.chunk) > r.left {
			return 0, fmt.Errorf("%w: a chunk of %d bytes", ErrFormat, r.chunk)
		}
		r.at += intBytes
	}
	n, err := r.dump.ReadAt(p[:min(len(p), r.chunk)], r.at)
	r.at, r.left, r.chunk = r.at+int64(n), r.left-int64(n), r.chunk-n
	if n > 0 {
		err = nil
	}
	return n, err
}
