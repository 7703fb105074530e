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
	off, err := manifestOffset(r, size)
	if err != nil {
		return m, err
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
	b, err := rd.about(maxManifest)
	if err != nil {
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

// manifestOffset reads the trailer.
func manifestOffset(r io.ReaderAt, size int64) (int64, error) {
	if size < trailerBytes {
		return 0, fmt.Errorf("%w: shorter than a trailer", ErrCorrupt)
	}
	b := make([]byte, trailerBytes)
	if n, err := r.ReadAt(b, size-trailerBytes); n < len(b) {
		return 0, fmt.Errorf("read trailer: %w", err)
	}
	off, ok := parseTrailer(b)
	if !ok || off > size-trailerBytes {
		return 0, fmt.Errorf("%w: no trailer at the end; was the archive cut off?", ErrCorrupt)
	}
	return off, nil
}

// ReadWarnings reads what the writer of an archive warned of, and nothing else. m is
// from [ReadManifest].
func ReadWarnings(r io.ReaderAt, size int64, m Manifest) ([]Warning, error) {
	end, err := manifestOffset(r, size)
	if err != nil {
		return nil, err
	}
	start := int64(0)
	for _, p := range m.Parts {
		start = max(start, p.Offset+p.Length)
	}
	rd := &Reader{s: newStream(io.NewSectionReader(r, start, end-start), start)}
	rd.tar = tar.NewReader(rd.s)
	for {
		h, err := rd.tar.Next()
		if err != nil {
			return nil, rd.fault(err)
		}
		if h.Name == warningsName {
			if err := rd.readWarnings(h); err != nil {
				return nil, err
			}
			break
		}
		if h.Name != headerName { // which comes first if there are no parts
			return nil, fmt.Errorf("%w: %q where the warnings should be", ErrCorrupt, h.Name)
		}
	}
	if rd.warnSum != m.WarningsSHA256 || int64(len(rd.warnings)) != m.Warnings {
		return nil, fmt.Errorf("%w: the warnings do not match the manifest", ErrCorrupt)
	}
	return rd.warnings, nil
}

// NewPartReader reads one part of an archive, alone. p is from its manifest, for which
// the caller vouches. If p has the sum of its bytes, all of them are compared with it:
// also what no index lists, such as modes, owners and attributes.
func NewPartReader(r io.ReaderAt, p Part) *Reader {
	rd := &Reader{s: newStream(io.NewSectionReader(r, p.Offset, p.Length), p.Offset), only: &p, content: sha256.New()}
	rd.s.src.sum = sha256.New()
	rd.tar = tar.NewReader(rd.s)
	return rd
}
