package archive

import (
	"bytes"
	"errors"
	"io"
	"os"
)

// zeroBlock is how long a block of zeros must be to be left out of a file: the block
// of most file systems.
const zeroBlock = 4 << 10

var zeroBytes [zeroBlock]byte

// isZero reports whether a block, of at most zeroBlock bytes, holds only zeros.
func isZero(b []byte) bool { return b[0] == 0 && bytes.Equal(b, zeroBytes[:len(b)]) }

// zeroCounter counts the bytes in blocks of zeros of a file that is written to it.
type zeroCounter struct {
	zeros int64
	at    int  // in the current block
	data  bool // it holds something else
}

// begin begins the next file.
func (z *zeroCounter) begin() { z.at, z.data = 0, false }

func (z *zeroCounter) add(b []byte) {
	for len(b) > 0 {
		n := min(len(b), zeroBlock-z.at)
		z.data = z.data || !isZero(b[:n])
		if z.at += n; z.at == zeroBlock {
			if !z.data {
				z.zeros += zeroBlock
			}
			z.begin()
		}
		b = b[n:]
	}
}

// copySparse writes a file of a size, without its blocks of zeros. before, unless
// nil, is called before each of the writes. buf is a multiple of zeroBlock long.
func copySparse(f *os.File, r io.Reader, size int64, buf []byte, before func(n int64) error) error {
	end := int64(0) // of what was written
	for at := int64(0); at < size; {
		b := buf[:min(size-at, int64(len(buf)))]
		if _, err := io.ReadFull(r, b); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		for len(b) > 0 {
			data, skip := split(b)
			if data > 0 {
				if before != nil {
					if err := before(int64(data)); err != nil {
						return err
					}
				}
				if _, err := f.WriteAt(b[:data], at); err != nil {
					return err
				}
				end = at + int64(data)
			}
			at, b = at+int64(data+skip), b[data+skip:]
		}
	}
	if end < size {
		return f.Truncate(size)
	}
	return nil
}

// split returns how many bytes come before the next whole block of zeros, and how
// many such blocks follow.
func split(b []byte) (data, skip int) {
	for data < len(b) && (len(b)-data < zeroBlock || !isZero(b[data:data+zeroBlock])) {
		data += min(zeroBlock, len(b)-data)
	}
	for data+skip+zeroBlock <= len(b) && isZero(b[data+skip:data+skip+zeroBlock]) {
		skip += zeroBlock
	}
	return data, skip
}
