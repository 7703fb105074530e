package project

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/project/internal/pgcustom"
)

const (
	globalsFile     = "globals.sql"
	fingerprintFile = "fingerprint.json"
	keyFile         = "pgsodium_root.key"
	dumpSuffix      = ".dump"
	tablesSuffix    = ".tables" // of the file beside a dump that says where which rows are
)

// Spool writes what an archive has of the databases into files of a folder, made
// anew, since the tables of a dump are restored side by side. It returns the
// fingerprint when every sum was right. A [Restoration] of the database that gets no
// reader builds from these files; they lie in the Scratch of its Target.
func Spool(r *archive.Reader, dir string) (prints []byte, err error) {
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return nil, err
	}
	return spool(r, &spooler{dir: dir})
}

// SpoolNeed returns what Spool writes into a folder.
func SpoolNeed(p archive.Part, dir string, minFree int64) Need {
	return Need{Part: Database, At: dir, Bytes: p.Bytes, MinFree: minFree}
}

// Inspect reads what [Spool] reads, and as strictly, but writes nothing.
func Inspect(r *archive.Reader) (prints []byte, err error) {
	return spool(r, &spooler{seen: map[string]bool{}})
}

// entries is an archive, or one part of it, that is read to its end.
type entries interface {
	io.Reader
	Next() (archive.Entry, error)
}

func spool(r entries, s *spooler) ([]byte, error) {
	e, err := r.Next()
	for err == nil {
		if e.Kind != archive.File {
			e, err = r.Next()
			continue
		}
		e, err = s.write(e.Name, r)
	}
	if !errors.Is(err, io.EOF) {
		return nil, err
	}
	prints := s.prints.Bytes()
	if s.seen == nil {
		if prints, err = os.ReadFile(filepath.Join(s.dir, fingerprintFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	_, err = readPrints(prints)
	return prints, err
}

// readPrints reads fingerprint.json.
func readPrints(b []byte) (databases map[string]*fingerprint, err error) {
	var in struct {
		Databases map[string]*fingerprint `json:"databases"`
	}
	if err := json.Unmarshal(b, &in); err != nil || len(in.Databases) == 0 {
		return nil, errNoPrints
	}
	return in.Databases, nil
}

// errDump says that a dump is damaged although its sums are right.
var errDump = fmt.Errorf("%w: not a whole dump", archive.ErrCorrupt)

var errNoPrints = fmt.Errorf("%w: the part %s has no fingerprint that can be read", archive.ErrCorrupt, Database)

type spooler struct {
	dir string

	seen   map[string]bool // instead of files, when nothing is written
	prints bytes.Buffer    // fingerprint.json then
}

// write writes the file to which the entry belongs that r is at, and returns the
// next entry that does not.
func (s *spooler) write(name string, r entries) (next archive.Entry, err error) {
	folder, base := path.Split(strings.TrimPrefix(name, Database+"/"))
	in := &joined{r: r}
	if folder != "" {
		base, in.folder = strings.TrimSuffix(folder, "/"), path.Dir(name)+"/"
	}
	if base == "" || strings.Contains(base, "/") {
		return next, fmt.Errorf("%w: %s in the part %s", archive.ErrUnsafe, name, Database)
	}
	out, err := s.create(base)
	if err != nil {
		return next, err
	}
	if in.folder != "" && strings.HasSuffix(base, dumpSuffix) {
		err = s.dump(base, out, in)
	} else {
		_, err = io.Copy(out, in)
	}
	if err := errors.Join(err, out.Close()); err != nil {
		return next, err
	}
	return in.next, in.err
}

// create creates a file, or what stands for one.
func (s *spooler) create(base string) (io.WriteCloser, error) {
	switch {
	case s.seen == nil && !exists(filepath.Join(s.dir, base)):
		return os.OpenFile(filepath.Join(s.dir, base), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	case s.seen == nil, s.seen[base]:
		return nil, fmt.Errorf("%w: %w: %s in the part %s", archive.ErrCorrupt, archive.ErrTwice, base, Database)
	}
	s.seen[base] = true
	if base == fingerprintFile {
		return discarder{&s.prints}, nil
	}
	return discarder{io.Discard}, nil
}

// discarder needs no closing.
type discarder struct{ io.Writer }

// Close implements io.Closer.
func (discarder) Close() error { return nil }

// dump writes a dump, and beside it which rows are where.
func (s *spooler) dump(base string, out io.Writer, in *joined) error {
	d, err := pgcustom.Copy(out, in)
	switch {
	case errors.Is(err, pgcustom.ErrFormat), errors.Is(err, io.ErrUnexpectedEOF) && errors.Is(in.err, io.EOF):
		return fmt.Errorf("%w: %s: %w", errDump, base, err)
	case err != nil || d == nil || s.seen != nil:
		return err
	}
	var b bytes.Buffer // gob keeps names that are not UTF-8
	if err := gob.NewEncoder(&b).Encode(d); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, base+tablesSuffix), b.Bytes(), 0o600)
}

// joined reads an entry of an archive, or a streamed file that is a folder of pieces.
type joined struct {
	r      entries
	folder string        // of the pieces, with a slash; "" for an entry alone
	next   archive.Entry // the first that does not belong to the file
	err    error         // instead of next
	ended  bool
}

// Read implements io.Reader.
func (j *joined) Read(p []byte) (int, error) {
	for !j.ended {
		n, err := j.r.Read(p)
		if n > 0 || !errors.Is(err, io.EOF) {
			return n, err
		}
		j.next, j.err = j.r.Next()
		if j.err != nil && !errors.Is(j.err, io.EOF) {
			j.ended = true
			return 0, j.err
		}
		j.ended = j.err != nil || j.folder == "" || !strings.HasPrefix(j.next.Name, j.folder)
	}
	return 0, io.EOF
}
