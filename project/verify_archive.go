package project

import (
	"errors"
	"io"
	"strings"

	"github.com/holdfast-dev/holdfast/archive"
)

// Verify reads the rest of an archive as strictly as a restore of all its parts does, and
// writes nothing.
func Verify(r *archive.Reader) error {
	e, err := r.Next()
	for err == nil {
		name, _, _ := strings.Cut(e.Name, "/")
		p := &onePart{r: r, name: name, first: &e}
		if name == Database {
			_, err = spool(p, &spooler{seen: map[string]bool{}})
		} else {
			for err == nil {
				_, err = p.Next()
			}
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		e, err = p.after, p.err
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// onePart is one part of an archive that is read whole.
type onePart struct {
	r     *archive.Reader
	name  string
	first *archive.Entry // was read already
	after archive.Entry  // the first of the next part
	err   error          // instead of after
	ended bool
}

// Next implements entries.
func (p *onePart) Next() (archive.Entry, error) {
	if e := p.first; e != nil {
		p.first = nil
		return *e, nil
	}
	if p.ended {
		return archive.Entry{}, io.EOF
	}
	e, err := p.r.Next()
	if err == nil && (e.Name == p.name || strings.HasPrefix(e.Name, p.name+"/")) {
		return e, nil
	}
	p.after, p.err, p.ended = e, err, true
	if err == nil || errors.Is(err, io.EOF) {
		return archive.Entry{}, io.EOF
	}
	return archive.Entry{}, err
}

// Read implements io.Reader.
func (p *onePart) Read(b []byte) (int, error) {
	if p.ended {
		return 0, io.EOF
	}
	return p.r.Read(b)
}

// Damage says for people what is wrong with an archive of which reading has failed with
// err. It names no entry.
func Damage(err error) string {
	switch {
	case errors.Is(err, errDump):
		return "the dump of a database in it cannot be read"
	case errors.Is(err, errNoPrints):
		return "the fingerprint of its databases is missing or cannot be read"
	}
	return archive.Damage(err)
}
