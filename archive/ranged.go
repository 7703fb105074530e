package archive

import (
	"archive/tar"
	"crypto/sha256"
	"fmt"
	"io"
)

// ReadManifest finds and reads the manifest of an archive of the given size, by
// its trailer. It reads a few kilobytes from the end.
func ReadManifest(r io.ReaderAt, size int64) (Manifest, error) {
	var m Manifest
	if size < trailerBytes {
		return m, fmt.Errorf("%w: shorter than a trailer", ErrCorrupt)
	}
	b := make([]byte, trailerBytes)
	if n, err := r.ReadAt(b, size-trailerBytes); n < len(b) {
		return m, fmt.Errorf("read trailer: %w", err)
	}
	off, ok := parseTrailer(b)
	if !ok || off > size-trailerBytes {
		return m, fmt.Errorf("%w: no trailer at the end; was the archive cut off?", ErrCorrupt)
	}
	rd := &Reader{s: newStream(io.NewSectionReader(r, off, size-trailerBytes-off), off)}
	rd.tar = tar.NewReader(rd.s)
	h, err := rd.tar.Next()
	if err != nil {
		return m, rd.fault(err)
	}
	if h.Name != manifestName || h.Typeflag != tar.TypeReg {
		return m, fmt.Errorf("%w: the trailer does not lead to the manifest", ErrCorrupt)
	}
	if b, err = rd.about(maxManifest); err != nil {
		return m, err
	}
	if m, err = parseManifest(b); err != nil {
		return m, err
	}
	for _, p := range m.Parts {
		if p.Offset < 0 || p.Length < 0 || p.Offset > off || p.Length > off-p.Offset {
			return m, fmt.Errorf("%w: part %s lies outside the archive", ErrCorrupt, p.Name)
		}
	}
	return m, nil
}

// NewPartReader reads one part of an archive, alone. p is from its manifest.
func NewPartReader(r io.ReaderAt, p Part) *Reader {
	rd := &Reader{s: newStream(io.NewSectionReader(r, p.Offset, p.Length), p.Offset), only: &p, content: sha256.New()}
	rd.tar = tar.NewReader(rd.s)
	return rd
}
