package archive_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"testing"

	"github.com/holdfast-dev/holdfast/archive"
)

// onePart packs one file with some mode.
func onePart(t *testing.T, mode fs.FileMode) ([]byte, archive.Manifest) {
	t.Helper()
	var b bytes.Buffer
	w, err := archive.NewWriter(&b, header)
	must(t, err)
	must(t, w.Begin("config"))
	c := file("config/.env", []byte("A=1\n"))
	c.Mode = mode
	must(t, w.Add(c.Entry, bytes.NewReader(c.data)))
	m, err := w.Close()
	must(t, err)
	return b.Bytes(), m
}

func TestSumsOfTheManifestAreThoseOfTheBytes(t *testing.T) {
	b, m := pack(t, noise(3<<20))
	for _, p := range m.Parts {
		sum := sha256.Sum256(b[p.Offset : p.Offset+p.Length])
		if p.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("part %s: the sum is not that of its bytes", p.Name)
		}
	}
	r, err := archive.NewReader(bytes.NewReader(b))
	must(t, err)
	if _, err := read(r); !errors.Is(err, io.EOF) || r.Manifest().SHA256 != m.SHA256 || len(m.SHA256) != 64 {
		t.Errorf("%v, sum of the manifest %q, want %q", err, r.Manifest().SHA256, m.SHA256)
	}
}

// TestWhatNoIndexListsIsComparedAsWell changes the mode of a file, and puts bytes behind
// an end of the tar archive: the indexes stay right.
func TestWhatNoIndexListsIsComparedAsWell(t *testing.T) {
	_, honest := onePart(t, 0o640)
	b, edited := onePart(t, 0o777)
	p := edited.Parts[0]
	modes := b[p.Offset : p.Offset+p.Length]
	var tail bytes.Buffer
	z := gzip.NewWriter(&tail)
	_, err := z.Write(append(make([]byte, 1024), "hidden"...))
	must(t, errors.Join(err, z.Close()))
	hidden := append(bytes.Clone(modes), tail.Bytes()...)
	for name, c := range map[string]struct {
		bytes []byte
		sum   string
	}{"modes": {modes, honest.Parts[0].SHA256}, "hidden bytes": {hidden, edited.Parts[0].SHA256}} {
		p := p
		p.Offset, p.Length, p.SHA256 = 0, int64(len(c.bytes)), c.sum
		if _, err := read(archive.NewPartReader(bytes.NewReader(c.bytes), p)); !errors.Is(err, archive.ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
		p.SHA256 = ""
		if _, err := read(archive.NewPartReader(bytes.NewReader(c.bytes), p)); !errors.Is(err, io.EOF) {
			t.Errorf("%s: the attack itself is wrong: %v", name, err)
		}
	}
}
