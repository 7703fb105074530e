package archive

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"runtime"
	"sync/atomic"
	"time"
)

// Writer writes an archive, part after part. It is for one goroutine, but for
// [Writer.Progress]. Its memory does not grow with the archive.
type Writer struct {
	gz       *members
	tar      *tar.Writer
	manifest Manifest
	open     *Part // nil before the first Begin
	index    index
	names    *nameSet // of the open part
	zeros    zeroCounter
	indexes  int // index files so far
	warnings []byte
	lost     int64 // warnings beyond maxWarnings
	buf      []byte
	closed   bool

	bytes, entries atomic.Int64
}

// index collects the sums of the entries since the last index file.
type index struct {
	lines []byte
	all   hash.Hash // of all lines of the part
}

// NewWriter begins an archive on w. The caller must call [Writer.Close] or
// [Writer.Abort].
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	h.Format, h.CreatedAt = Format, h.CreatedAt.UTC()
	aw := &Writer{
		gz: newMembers(w, min(4, runtime.GOMAXPROCS(0))), manifest: Manifest{Header: h, Parts: []Part{}}, buf: make([]byte, 256<<10),
	}
	aw.tar = tar.NewWriter(aw.gz)
	b, err := json.MarshalIndent(h, "", "  ")
	if err == nil {
		aw.manifest.HeaderSHA256, err = aw.about(headerName, append(b, '\n'))
	}
	if err != nil {
		aw.Abort()
		return nil, err
	}
	return aw, nil
}

// Progress returns the bytes of content and the entries so far. Any goroutine
// may call it.
func (w *Writer) Progress() (bytes, entries int64) { return w.bytes.Load(), w.entries.Load() }

// Begin starts a part. The entries that follow must have names below it. A part
// begins with an entry for its own folder.
func (w *Writer) Begin(part string) error {
	if !validPart(part) {
		return fmt.Errorf("archive: %q cannot be the name of a part", part)
	}
	for _, p := range w.manifest.Parts {
		if p.Name == part {
			return fmt.Errorf("archive: part %s twice", part)
		}
	}
	off, err := w.endPart()
	if err != nil {
		return err
	}
	w.open, w.index, w.names, w.zeros = &Part{Name: part, Offset: off}, index{all: sha256.New()}, newNameSet(), zeroCounter{}
	return w.Add(Entry{Name: part, Kind: Dir, Mode: 0o755, ModTime: w.manifest.CreatedAt}, nil)
}

// Add writes an entry, for a file with its content, of which exactly e.Size
// bytes are read. An entry that no reader would take is refused before anything is
// written, so the caller may go on without it: with ErrTwice if its name is taken, with
// ErrUnsafe otherwise. A folder that was written before is not written again.
func (w *Writer) Add(e Entry, content io.Reader) error {
	if w.open == nil {
		return errors.New("archive: entry before the first part")
	}
	if err := checkEntry(e); err != nil {
		return err
	}
	if partOf(e.Name) != w.open.Name {
		return fmt.Errorf("archive: entry %s in part %s", e.Name, w.open.Name)
	}
	again, err := w.names.add(e.Name, e.Kind)
	switch {
	case errors.Is(err, errNoFolder):
		return fmt.Errorf("%w: %w", ErrUnsafe, err)
	case err != nil || again:
		return err
	}
	if err := w.tar.WriteHeader(header(e)); err != nil {
		return fmt.Errorf("entry %s: %w", e.Name, err)
	}
	s := sum{Name: e.Name, Kind: e.Kind, Target: e.Target}
	var short error
	if e.Kind == File {
		var err error
		s.Size = e.Size
		s.SHA256, err = w.content(e.Size, content)
		if err != nil && !errors.Is(err, ErrShort) {
			return fmt.Errorf("entry %s: %w", e.Name, err)
		}
		short = err
	}
	w.entries.Add(1)
	w.open.Entries++
	w.open.Bytes += s.Size
	if err := w.list(s); err != nil {
		return err
	}
	return short
}

// content copies size bytes and returns their sum.
func (w *Writer) content(size int64, r io.Reader) (string, error) {
	h := sha256.New()
	w.zeros.begin()
	w.gz.mark()
	defer w.gz.mark()
	var short error
	for left := size; left > 0; {
		b := w.buf[:min(left, int64(len(w.buf)))]
		n, err := len(b), error(nil)
		if short == nil {
			n, err = r.Read(b)
		} else {
			clear(b)
		}
		h.Write(b[:n])
		w.zeros.add(b[:n])
		if _, werr := w.tar.Write(b[:n]); werr != nil {
			return "", werr
		}
		left -= int64(n)
		w.bytes.Add(int64(n))
		if errors.Is(err, io.EOF) && left > 0 {
			short = ErrShort
		} else if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), short
}

func header(e Entry) *tar.Header {
	h := &tar.Header{
		Name: e.Name, Typeflag: tar.TypeReg, Size: e.Size, ModTime: e.ModTime.Truncate(time.Second),
		Mode: unixMode(e.Mode), Uid: e.UID, Gid: e.GID,
	}
	switch e.Kind {
	case File:
	case Dir:
		h.Typeflag, h.Size, h.Name = tar.TypeDir, 0, e.Name+"/"
	case Link:
		h.Typeflag, h.Size, h.Linkname = tar.TypeSymlink, 0, e.Target
	}
	for k, v := range e.Xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[xattrPrefix+k] = v
	}
	return h
}

const xattrPrefix = "SCHILY.xattr." // as GNU tar and bsdtar write them

func unixMode(m fs.FileMode) int64 {
	n := int64(m.Perm())
	for bit, flag := range map[int64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if m&flag != 0 {
			n |= bit
		}
	}
	return n
}

// list adds a line to the index, which is written when it is full.
func (w *Writer) list(s sum) error {
	line, err := s.marshal()
	if err != nil {
		return err
	}
	if len(w.index.lines)+len(line) > maxIndex {
		if err := w.flushIndex(); err != nil {
			return err
		}
	}
	w.index.lines = append(w.index.lines, line...)
	w.index.all.Write(line)
	return nil
}

func (w *Writer) flushIndex() error {
	_, err := w.about(indexName(w.indexes), w.index.lines)
	w.indexes++
	w.index.lines = w.index.lines[:0]
	return err
}

// about writes a file that is about the archive and returns its sum.
func (w *Writer) about(name string, b []byte) (string, error) {
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(b)), Mode: 0o644, ModTime: w.manifest.CreatedAt.Truncate(time.Second)}
	if err := w.tar.WriteHeader(h); err != nil {
		return "", err
	}
	if _, err := w.tar.Write(b); err != nil {
		return "", err
	}
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:]), nil
}

// endPart closes the open part, if there is one, and returns where the next
// member begins.
func (w *Writer) endPart() (int64, error) {
	if w.open != nil {
		if err := w.flushIndex(); err != nil {
			return 0, err
		}
	}
	if err := w.tar.Flush(); err != nil { // the padding belongs to the part
		return 0, err
	}
	off, sum, err := w.gz.cut()
	if w.open != nil {
		p := w.open
		p.Zeros = w.zeros.zeros
		p.Length, p.SHA256, p.IndexSHA256 = off-p.Offset, sum, hex.EncodeToString(w.index.all.Sum(nil))
		w.manifest.Parts = append(w.manifest.Parts, *p)
		w.manifest.Entries += p.Entries
		w.manifest.Bytes += p.Bytes
		w.open = nil
	}
	return off, err
}

// Warn adds a line to the archive's list of warnings. Past 8 MiB of them the
// last line says how many more there were.
func (w *Writer) Warn(ws ...Warning) error {
	for _, x := range ws {
		b, err := json.Marshal(x)
		if err != nil {
			return err
		}
		if w.lost > 0 || len(w.warnings)+len(b) > maxWarnings-1024 {
			w.lost++
			continue
		}
		w.warnings = append(append(w.warnings, b...), '\n')
		w.manifest.Warnings++
	}
	return nil
}

// Close ends the archive and returns its manifest. It does not close the
// underlying writer.
func (w *Writer) Close() (Manifest, error) {
	m, err := w.finish()
	if err != nil {
		w.Abort()
		return Manifest{}, err
	}
	return m, nil
}

func (w *Writer) finish() (Manifest, error) {
	if w.closed {
		return Manifest{}, errors.New("archive: closed twice")
	}
	if _, err := w.endPart(); err != nil {
		return Manifest{}, err
	}
	if n := w.lost; n > 0 {
		w.lost = 0
		if err := w.Warn(Warning{Code: "more_warnings", Sentence: fmt.Sprintf("%d more warnings had no room here.", n)}); err != nil {
			return Manifest{}, err
		}
	}
	var err error
	if w.manifest.WarningsSHA256, err = w.about(warningsName, w.warnings); err != nil {
		return Manifest{}, err
	}
	off, err := w.endPart()
	if err != nil {
		return Manifest{}, err
	}
	b, err := json.MarshalIndent(w.manifest, "", "  ")
	if err != nil {
		return Manifest{}, err
	}
	if w.manifest.SHA256, err = w.about(manifestName, append(b, '\n')); err != nil {
		return Manifest{}, err
	}
	if err := w.tar.Close(); err != nil {
		return Manifest{}, err
	}
	w.closed = true
	if err := w.gz.close(); err != nil {
		return Manifest{}, err
	}
	_, err = w.gz.w.Write(trailer(off))
	return w.manifest, err
}

// Abort frees what the Writer holds and leaves the archive unfinished. After
// Close it does nothing. It waits for a write that is under way, so unblock the
// underlying writer first.
func (w *Writer) Abort() {
	if !w.closed {
		w.closed = true
		_ = w.gz.close() // the archive is given up
	}
}
