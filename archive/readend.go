package archive

import (
	"archive/tar"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
)

// readWarnings takes in warnings.jsonl.
func (r *Reader) readWarnings(h *tar.Header) error {
	if r.warnSum != "" || h.Typeflag != tar.TypeReg {
		return fmt.Errorf("%w: %s is out of place", ErrCorrupt, warningsName)
	}
	if err := r.leave(); err != nil {
		return err
	}
	r.warnOff = r.s.start
	b, err := r.about(maxWarnings)
	if err != nil {
		return err
	}
	r.warnSum = hexSum(b)
	for line := range bytes.Lines(b) {
		var w Warning
		if err := json.Unmarshal(line, &w); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrCorrupt, warningsName, err)
		}
		r.warnings = append(r.warnings, w)
	}
	return nil
}

// readManifest takes in manifest.json and compares it with what was read.
func (r *Reader) readManifest(h *tar.Header) error {
	if r.warnSum == "" || h.Typeflag != tar.TypeReg {
		return fmt.Errorf("%w: %s is out of place", ErrCorrupt, manifestName)
	}
	off := r.s.start
	b, err := r.about(maxManifest)
	if err != nil {
		return err
	}
	m, err := parseManifest(b)
	if err != nil {
		return err
	}
	want := Manifest{
		Header: m.Header, HeaderSHA256: r.headSum, Parts: r.parts, Warnings: int64(len(r.warnings)), WarningsSHA256: r.warnSum, SHA256: m.SHA256,
	}
	if want.Parts == nil {
		want.Parts = []Part{}
	}
	for i := range want.Parts {
		p := &want.Parts[i]
		end := r.warnOff
		if i+1 < len(r.parts) {
			end = r.parts[i+1].Offset
		}
		p.Length = end - p.Offset
		if i < len(m.Parts) {
			p.Zeros, p.SHA256 = m.Parts[i].Zeros, m.Parts[i].SHA256
		}
		want.Entries += p.Entries
		want.Bytes += p.Bytes
	}
	if !reflect.DeepEqual(m, want) {
		return fmt.Errorf("%w: the manifest does not match what the archive holds", ErrCorrupt)
	}
	if m.ID != r.head.ID || m.Project != r.head.Project || m.Type != r.head.Type || m.Attempt != r.head.Attempt {
		return fmt.Errorf("%w: the manifest is of another archive", ErrCorrupt)
	}
	r.manifest, r.done, r.warnOff = m, true, off
	return nil
}

func parseManifest(b []byte) (Manifest, error) {
	var m Manifest
	if _, err := parseHeader(b); err != nil {
		return m, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("%w: %s: %w", ErrCorrupt, manifestName, err)
	}
	if m.Parts == nil {
		m.Parts = []Part{}
	}
	for _, p := range m.Parts {
		if p.Bytes < 0 || p.Bytes > maxBytes || p.Entries < 0 || p.Entries > maxEntries || p.Zeros < 0 || p.Zeros > p.Bytes {
			return m, fmt.Errorf("%w: a number of the part %s is outside of its limits", ErrCorrupt, p.Name)
		}
	}
	m.SHA256 = hexSum(b)
	return m, nil
}

// end is called where the tar archive ends. It returns io.EOF when everything
// was right.
func (r *Reader) end() error {
	if err := r.leave(); err != nil {
		return err
	}
	if r.only != nil {
		if len(r.parts) != 1 || r.parts[0].Entries != r.only.Entries || r.parts[0].Bytes != r.only.Bytes || r.parts[0].IndexSHA256 != r.only.IndexSHA256 {
			return fmt.Errorf("%w: part %s does not match the manifest", ErrCorrupt, r.only.Name)
		}
		return r.endOfRange()
	}
	if !r.done {
		return fmt.Errorf("%w: ends before its manifest", ErrCorrupt)
	}
	// What follows in the last members is tar's padding, then the trailer.
	b := make([]byte, 4096)
	for {
		n, err := r.s.Read(b)
		if len(bytes.Trim(b[:n], "\x00")) > 0 {
			return fmt.Errorf("%w: data after the end", ErrCorrupt)
		}
		if err != nil && err != io.EOF { //nolint:errorlint // io.EOF is never wrapped here
			return err
		}
		if err != nil {
			break
		}
	}
	if r.s.trailer != r.warnOff {
		return fmt.Errorf("%w: the trailer does not lead to the manifest", ErrCorrupt)
	}
	return io.EOF
}

// endOfRange reads what is left of the range of a part, such as behind an end of the
// tar archive that somebody has put there, and compares the sum of the range.
func (r *Reader) endOfRange() error {
	if _, err := io.Copy(io.Discard, r.s.r); err != nil {
		return r.s.fault(err)
	}
	if r.only.SHA256 != "" && hex.EncodeToString(r.s.src.sum.Sum(nil)) != r.only.SHA256 {
		return fmt.Errorf("%w: the bytes of part %s do not match the manifest", ErrCorrupt, r.only.Name)
	}
	return io.EOF
}
