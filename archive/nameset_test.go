package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/archive"
)

// TestNamesThatCannotLieInOneFolder are refused by whoever only reads, too.
func TestNamesThatCannotLieInOneFolder(t *testing.T) {
	folder := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir} }
	for name, c := range map[string]struct {
		entries []tar.Header
		want    error
	}{
		"a file twice":             {[]tar.Header{reg("config/a"), reg("config/b"), reg("config/a")}, archive.ErrCorrupt},
		"a file and a link":        {[]tar.Header{reg("config/a"), link("config/a", "b")}, archive.ErrCorrupt},
		"a file and a folder":      {[]tar.Header{reg("config/a"), folder("config/a/")}, archive.ErrUnsafe},
		"a folder and a file":      {[]tar.Header{folder("config/a/"), reg("config/a")}, archive.ErrUnsafe},
		"a file for a folder":      {[]tar.Header{reg("config/a/b/c"), reg("config/a/b")}, archive.ErrUnsafe},
		"below a file":             {[]tar.Header{reg("config/a"), reg("config/x"), reg("config/a/b/c")}, archive.ErrUnsafe},
		"below a link":             {[]tar.Header{link("config/a", "x"), folder("config/a/b/")}, archive.ErrUnsafe},
		"a long component":         {[]tar.Header{reg("config/" + strings.Repeat("x", 256))}, archive.ErrUnsafe},
		"too many attributes":      {[]tar.Header{{Name: "config/a", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr.user.a": strings.Repeat("x", 600<<10)}}}, archive.ErrUnsafe},
		"a folder twice (allowed)": {[]tar.Header{folder("config/a/"), reg("config/a/b"), folder("config/c/"), folder("config/a/")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := archive.NewReader(bytes.NewReader(forge(t, c.entries...)))
			must(t, err)
			for err == nil {
				_, err = r.Next()
			}
			if c.want == nil { // a forged archive has no index
				if !strings.Contains(err.Error(), "in no index") && !strings.Contains(err.Error(), "ends before its manifest") {
					t.Errorf("got %v", err)
				}
				return
			}
			if !errors.Is(err, c.want) || strings.Contains(err.Error(), "index") {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestWhatTheWriterTakesCanBeExtracted adds entries with names and attributes of all
// kinds, wrong ones among them.
func TestWhatTheWriterTakesCanBeExtracted(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 5))
		var b bytes.Buffer
		w, err := archive.NewWriter(&b, header)
		must(t, err)
		must(t, w.Begin("config"))
		taken := map[string]bool{}
		for range 200 {
			e := randomEntry(r)
			err := w.Add(e, strings.NewReader("abc"))
			switch {
			case err == nil:
				taken[e.Name] = true
			case !errors.Is(err, archive.ErrTwice) && !errors.Is(err, archive.ErrUnsafe):
				t.Fatalf("%+v: %v", e, err)
			case errors.Is(err, archive.ErrTwice) && !taken[e.Name]:
				t.Fatalf("%+v: %v, but it is the first", e, err)
			}
		}
		m, err := w.Close()
		must(t, err)
		rd, err := archive.NewReader(bytes.NewReader(b.Bytes()))
		must(t, err)
		if _, err := read(rd); !errors.Is(err, io.EOF) {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if _, err := extract(t, b.Bytes(), archive.ExtractOptions{MaxBytes: m.Bytes, MaxEntries: m.Entries}); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func randomEntry(r *rand.Rand) archive.Entry {
	parts := []string{"a", "b", "c\xff", "d", "", ".", "..", strings.Repeat("x", 254+r.IntN(3)), fmt.Sprint(r.IntN(9))}
	e := archive.Entry{Name: "config", Kind: []archive.Kind{archive.File, archive.File, archive.Dir, archive.Link}[r.IntN(4)], Mode: 0o755}
	for range 1 + r.IntN(4) {
		e.Name += "/" + parts[r.IntN(len(parts))]
	}
	switch e.Kind {
	case archive.File:
		e.Size = 3
	case archive.Link:
		e.Target = []string{"a", "../a", "/a", "../../..", ""}[r.IntN(5)]
	case archive.Dir:
	}
	if r.IntN(5) == 0 && e.Kind == archive.File {
		e.Xattrs = map[string]string{[]string{"user.a", "user.a=b"}[r.IntN(2)]: "v\x00w"}
	}
	return e
}

// TestTrimmedAttributesFit into an archive.
func TestTrimmedAttributesFit(t *testing.T) {
	attrs := map[string]string{"user.a": "1", "user.b=c": "2", "user.d": strings.Repeat("x", 300<<10), "user.e": strings.Repeat("x", 300<<10)}
	if got := strings.Join(archive.TrimXattrs(attrs), " "); got != "user.b=c user.e" || len(attrs) != 2 {
		t.Errorf("removed %s, left %d", got, len(attrs))
	}
}

// TestDamageSaysWhatIsWrong without a name of an entry.
func TestDamageSaysWhatIsWrong(t *testing.T) {
	for want, entries := range map[string][]tar.Header{
		"it holds the same name twice":                  {reg("config/secret"), reg("config/secret")},
		"it holds a file and a folder of the same name": {reg("config/secret"), reg("config/secret/x")},
		"it holds something unsafe":                     {reg("config/../secret")},
		"what was read does not match its sums":         {reg("config/secret")},
	} {
		r, err := archive.NewReader(bytes.NewReader(forge(t, entries...)))
		must(t, err)
		for err == nil {
			_, err = r.Next()
		}
		if got := archive.Damage(err); got != want {
			t.Errorf("%v: got %q, want %q", err, got, want)
		}
	}
}
