package archive

import (
	"bytes"
	"fmt"
)

// pieceSize is what the Writer puts into a piece. Half the maximum keeps the
// buffer small and costs nothing.
const pieceSize = maxPiece / 2

// PieceWriter writes a file of unknown length as a folder of numbered pieces,
// which joined in the order of their names are the file.
type PieceWriter struct {
	w   *Writer
	e   Entry
	n   int
	buf []byte
}

// Pieces begins a streamed file in the folder dir.Name. The Writer must not be
// used otherwise until the PieceWriter is closed.
func (w *Writer) Pieces(dir Entry) (*PieceWriter, error) {
	dir.Kind = Dir
	if err := w.Add(dir, nil); err != nil {
		return nil, err
	}
	piece := dir
	piece.Kind, piece.Mode = File, dir.Mode&^0o111
	return &PieceWriter{w: w, e: piece, buf: make([]byte, 0, pieceSize)}, nil
}

// Write adds p to the file.
func (p *PieceWriter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		k := min(len(b), pieceSize-len(p.buf))
		p.buf, b = append(p.buf, b[:k]...), b[k:]
		if len(p.buf) == pieceSize {
			if err := p.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// Close writes the last piece. An empty file has one empty piece.
func (p *PieceWriter) Close() error {
	if len(p.buf) == 0 && p.n > 0 {
		return nil
	}
	return p.flush()
}

func (p *PieceWriter) flush() error {
	if p.n > 9_999_999 {
		return fmt.Errorf("archive: %s has more than ten million pieces", p.e.Name)
	}
	e := p.e
	e.Name, e.Size = pieceName(p.e.Name, p.n), int64(len(p.buf))
	err := p.w.Add(e, bytes.NewReader(p.buf))
	p.n++
	p.buf = p.buf[:0]
	return err
}
