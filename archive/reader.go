package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"strings"
)

// Reader reads an archive, or one part of it, from front to back and verifies
// every sum on the way. An entry is proved only when its part's index has been
// read, so nothing that was read may be relied on before [Reader.Next] has
// returned io.EOF. It is for one goroutine.
type Reader struct {
	s       *stream
	tar     *tar.Reader
	only    *Part // set when a single part is read
	head    Header
	headSum string

	parts    []Part // as met, with the sums that were computed
	pending  []sum  // entries that no index has confirmed yet
	pendingN int    // bytes of pending
	lines    hash.Hash
	names    *nameSet // of the current part
	indexes  int

	content  hash.Hash // of the current file
	left     int64     // bytes of it that are not read yet
	warnings []Warning
	warnSum  string
	warnOff  int64
	manifest Manifest
	done     bool
	err      error
}

// NewReader begins to read a whole archive: it reads the header.
func NewReader(r io.Reader) (*Reader, error) {
	rd := &Reader{s: newStream(r, 0), content: sha256.New()}
	rd.tar = tar.NewReader(rd.s)
	h, err := rd.tar.Next()
	if err != nil {
		return nil, rd.fault(err)
	}
	if h.Name != headerName || h.Typeflag != tar.TypeReg {
		return nil, fmt.Errorf("%w: not an archive of Holdfast: %s is not first", ErrCorrupt, headerName)
	}
	b, err := rd.about(maxHeader)
	if err != nil {
		return nil, err
	}
	if rd.head, err = parseHeader(b); err != nil {
		return nil, err
	}
	rd.headSum = hexSum(b)
	return rd, nil
}

func parseHeader(b []byte) (Header, error) {
	var h Header
	if err := json.Unmarshal(b, &h); err != nil || h.Format < 1 {
		return h, fmt.Errorf("%w: %s has no format number", ErrCorrupt, headerName)
	}
	if h.Format > Format {
		return h, fmt.Errorf("%w: format %d, this program knows %d", ErrVersion, h.Format, Format)
	}
	return h, nil
}

// Header returns the first file of a whole archive.
func (r *Reader) Header() Header { return r.head }

// Manifest returns the last file of a whole archive, after io.EOF.
func (r *Reader) Manifest() Manifest { return r.manifest }

// Warnings returns what the writer warned of in a whole archive, after io.EOF.
func (r *Reader) Warnings() []Warning { return r.warnings }

// Next returns the next entry of a part. Files about the archive are verified
// and not returned. At the end, when every sum has been found right, it returns
// io.EOF.
func (r *Reader) Next() (Entry, error) {
	if r.err != nil {
		return Entry{}, r.err
	}
	e, err := r.next()
	if err != nil {
		r.err = err
	}
	return e, err
}

func (r *Reader) next() (Entry, error) {
	if err := r.finish(); err != nil {
		return Entry{}, err
	}
	for {
		h, err := r.tar.Next()
		if errors.Is(err, io.EOF) && r.s.src.err == nil {
			return Entry{}, r.end()
		}
		if err != nil {
			return Entry{}, r.fault(err)
		}
		switch {
		case r.done:
			err = fmt.Errorf("%w: %q after the manifest", ErrCorrupt, h.Name)
		case partOf(h.Name) == indexDir:
			err = r.index(h)
		case h.Name == warningsName && r.only == nil:
			err = r.readWarnings(h)
		case h.Name == manifestName && r.only == nil:
			err = r.readManifest(h)
		default:
			return r.entry(h)
		}
		if err != nil {
			return Entry{}, err
		}
	}
}

// Read reads the content of the current file.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil && !errors.Is(r.err, io.EOF) {
		return 0, r.err
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.tar.Read(p)
	r.content.Write(p[:n])
	r.left -= int64(n)
	if err != nil && (!errors.Is(err, io.EOF) || r.left > 0) {
		r.err = r.fault(err)
		return n, r.err
	}
	return n, nil
}

// entry takes in the head of an entry.
func (r *Reader) entry(h *tar.Header) (Entry, error) {
	e, err := entryOf(h)
	if err != nil {
		return e, err
	}
	if r.warnSum != "" {
		return e, fmt.Errorf("%w: %q after the warnings", ErrCorrupt, e.Name)
	}
	if err := r.enter(partOf(e.Name)); err != nil {
		return e, err
	}
	switch _, err := r.names.add(e.Name, e.Kind); {
	case errors.Is(err, errNoFolder):
		return e, fmt.Errorf("%w: %w", ErrUnsafe, err)
	case err != nil:
		return e, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	p := &r.parts[len(r.parts)-1]
	p.Entries++
	p.Bytes += e.Size
	r.pendingN += len(e.Name) + len(e.Target) + 128
	if r.pendingN > 4*maxIndex { // no index of the allowed size could list them
		return e, fmt.Errorf("%w: too many entries without an index", ErrCorrupt)
	}
	r.pending = append(r.pending, sum{Name: e.Name, Kind: e.Kind, Size: e.Size, Target: e.Target})
	r.content.Reset()
	r.left = e.Size
	return e, nil
}

// enter notices that a part begins.
func (r *Reader) enter(part string) error {
	if n := len(r.parts); n > 0 && r.parts[n-1].Name == part {
		return nil
	}
	if !validPart(part) {
		return fmt.Errorf("%w: %q is not a part", ErrCorrupt, part)
	}
	for _, p := range r.parts {
		if p.Name == part {
			return fmt.Errorf("%w: part %s twice", ErrCorrupt, part)
		}
	}
	if r.only != nil && (r.only.Name != part || len(r.parts) > 0) {
		return fmt.Errorf("%w: part %s where %s should be", ErrCorrupt, part, r.only.Name)
	}
	if err := r.leave(); err != nil {
		return err
	}
	if len(r.parts) == maxParts {
		return fmt.Errorf("%w: more than %d parts", ErrCorrupt, maxParts)
	}
	r.parts = append(r.parts, Part{Name: part, Offset: r.s.start})
	r.lines, r.names = sha256.New(), newNameSet()
	return nil
}

const maxParts = 64

// leave ends the current part.
func (r *Reader) leave() error {
	if len(r.pending) > 0 {
		return fmt.Errorf("%w: %q is in no index", ErrCorrupt, r.pending[0].Name)
	}
	if n := len(r.parts); n > 0 && r.parts[n-1].IndexSHA256 == "" {
		r.parts[n-1].IndexSHA256 = hex.EncodeToString(r.lines.Sum(nil))
	}
	return nil
}

// finish reads what is left of the current file and notes its sum.
func (r *Reader) finish() error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	if n := len(r.pending); n > 0 && r.pending[n-1].Kind == File && r.pending[n-1].SHA256 == "" {
		r.pending[n-1].SHA256 = hex.EncodeToString(r.content.Sum(nil))
	}
	return nil
}

// index compares an index file with the entries before it.
func (r *Reader) index(h *tar.Header) error {
	if r.lines == nil || r.warnSum != "" || h.Typeflag != tar.TypeReg {
		return fmt.Errorf("%w: %q is out of place", ErrCorrupt, h.Name)
	}
	if r.only == nil && h.Name != indexName(r.indexes) {
		return fmt.Errorf("%w: %q where %q should be", ErrCorrupt, h.Name, indexName(r.indexes))
	}
	r.indexes++
	b, err := r.about(maxIndex)
	if err != nil {
		return err
	}
	r.lines.Write(b)
	for line := range bytes.Lines(b) {
		s, err := unmarshalSum(line)
		if err != nil {
			return err
		}
		if len(r.pending) == 0 {
			return fmt.Errorf("%w: the index lists %q, which is not there", ErrCorrupt, s.Name)
		}
		got := r.pending[0]
		if s.Name != got.Name || s.Kind != got.Kind || s.Size != got.Size || s.Target != got.Target || s.SHA256 != got.SHA256 {
			return fmt.Errorf("%w: %q does not match its index", ErrCorrupt, got.Name)
		}
		r.pending = r.pending[1:]
	}
	r.pendingN = 0
	for _, s := range r.pending {
		r.pendingN += len(s.Name) + len(s.Target) + 128
	}
	return nil
}

// about reads a whole file about the archive, of at most limit bytes.
func (r *Reader) about(limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r.tar, limit+1))
	if err != nil {
		return nil, r.fault(err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%w: a file about the archive is larger than %d bytes", ErrCorrupt, limit)
	}
	return b, nil
}

func (r *Reader) fault(err error) error {
	if errors.Is(err, tar.ErrInsecurePath) {
		return fmt.Errorf("%w: %w", ErrUnsafe, err)
	}
	return r.s.fault(err)
}

// entryOf checks and translates the head of an entry.
func entryOf(h *tar.Header) (Entry, error) {
	e := Entry{
		Name: h.Name, Size: h.Size, Mode: h.FileInfo().Mode() & modeBits,
		ModTime: h.ModTime, UID: h.Uid, GID: h.Gid, Target: h.Linkname,
	}
	for k, v := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return e, fmt.Errorf("%w: %q is sparse", ErrUnsafe, h.Name)
		}
		if x, ok := strings.CutPrefix(k, xattrPrefix); ok {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[x] = v
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		e.Kind, e.Target = File, ""
	case tar.TypeDir:
		e.Kind, e.Target, e.Size = Dir, "", 0
		e.Name = strings.TrimSuffix(e.Name, "/")
	case tar.TypeSymlink:
		e.Kind, e.Size = Link, 0
	default:
		return e, fmt.Errorf("%w: %q is of type %q; only files, folders and symbolic links are allowed", ErrUnsafe, h.Name, h.Typeflag)
	}
	return e, checkEntry(e)
}

// modeBits are the bits of a mode that an archive keeps.
const modeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

func hexSum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
