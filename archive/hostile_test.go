package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/archive"
)

// forge returns an archive with a right header and then the given entries.
func forge(tb testing.TB, entries ...tar.Header) []byte {
	tb.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	h := header
	h.Format = archive.Format
	j, err := json.Marshal(h)
	must(tb, err)
	must(tb, w.WriteHeader(&tar.Header{Name: "holdfast.json", Typeflag: tar.TypeReg, Size: int64(len(j)), Mode: 0o600}))
	_, err = w.Write(j)
	must(tb, err)
	for _, e := range entries {
		e.Mode = 0o644
		must(tb, w.WriteHeader(&e))
		_, err := w.Write(make([]byte, e.Size))
		must(tb, err)
	}
	must(tb, w.Close())
	must(tb, z.Close())
	return b.Bytes()
}

func reg(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }

func link(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}
}

func TestHostileEntriesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		entry tar.Header
		want  error
	}{
		"absolute name":      {reg("/etc/passwd"), archive.ErrUnsafe},
		"dot dot":            {reg("config/../../x"), archive.ErrUnsafe},
		"dot":                {reg("config/./x"), archive.ErrUnsafe},
		"double slash":       {reg("config//x"), archive.ErrUnsafe},
		"long name":          {reg("config/" + strings.Repeat("x", 5000)), archive.ErrUnsafe},
		"hard link":          {tar.Header{Name: "config/h", Typeflag: tar.TypeLink, Linkname: "config/x"}, archive.ErrUnsafe},
		"character device":   {tar.Header{Name: "config/h", Typeflag: tar.TypeChar}, archive.ErrUnsafe},
		"block device":       {tar.Header{Name: "config/h", Typeflag: tar.TypeBlock}, archive.ErrUnsafe},
		"fifo":               {tar.Header{Name: "config/h", Typeflag: tar.TypeFifo}, archive.ErrUnsafe},
		"absolute link":      {link("config/l", "/etc"), archive.ErrUnsafe},
		"link up":            {link("config/l", ".."), archive.ErrUnsafe},
		"link out":           {link("config/a/l", "../../storage"), archive.ErrUnsafe},
		"winding link":       {link("config/a/b/l", "c/../x"), archive.ErrUnsafe},
		"empty link":         {link("config/l", ""), archive.ErrUnsafe},
		"our file":           {reg("config/.holdfast-moved.json"), archive.ErrUnsafe},
		"our folder":         {tar.Header{Name: "storage/.holdfast-old-abcdefghij/", Typeflag: tar.TypeDir}, archive.ErrUnsafe},
		"our folder below":   {reg("config/volumes/functions/.holdfast-undone-a1/x"), archive.ErrUnsafe},
		"our name as a link": {link("functions/.holdfast-new-abcdefghij", "x"), archive.ErrUnsafe},
		"no part":            {reg("README"), archive.ErrCorrupt},
		"header twice":       {reg("holdfast.json"), archive.ErrCorrupt},
		"index without part": {reg("manifest/0000000.jsonl"), archive.ErrCorrupt},
		"early manifest":     {reg("manifest.json"), archive.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := archive.NewReader(bytes.NewReader(forge(t, c.entry)))
			must(t, err)
			if _, err := read(r); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestWriterRefusesWhatTheReaderWould(t *testing.T) {
	var b bytes.Buffer
	w, err := archive.NewWriter(&b, header)
	must(t, err)
	must(t, w.Begin("config"))
	for _, e := range []archive.Entry{
		{Name: "/config/x", Kind: archive.File},
		{Name: "config/../x", Kind: archive.File},
		{Name: "config/l", Kind: archive.Link, Target: "/etc"},
		{Name: "config/l", Kind: archive.Link, Target: "../../x"},
		{Name: "config/.holdfast-old-abcdefghij", Kind: archive.Dir},
	} {
		if err := w.Add(e, nil); !errors.Is(err, archive.ErrUnsafe) {
			t.Errorf("%+v: got %v, want ErrUnsafe", e, err)
		}
	}
	if err := w.Add(archive.Entry{Name: "storage/x", Kind: archive.File}, nil); err == nil {
		t.Error("an entry of another part was taken")
	}
	_, err = w.Close() // refused entries leave the archive whole
	must(t, err)
	r, err := archive.NewReader(&b)
	must(t, err)
	if _, err := read(r); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// TestSparseFilesAreRefused takes sparse files as GNU tar writes them, whose
// maps could promise any size.
func TestSparseFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "config"), 0o700))
	f, err := os.Create(filepath.Join(dir, "config/sparse"))
	must(t, err)
	_, err = f.WriteAt([]byte("x"), 1<<20)
	must(t, err)
	must(t, f.Truncate(8<<20))
	must(t, f.Close())
	z, err := gzip.NewReader(bytes.NewReader(forge(t)))
	must(t, err)
	head, err := io.ReadAll(z)
	must(t, err)
	for _, format := range []string{"--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"} {
		args := []string{"--sparse", format, "-C", dir, "-c", "config/sparse"}
		if format != "--format=gnu" {
			args = append([]string{"--format=pax"}, args...)
		}
		sparse, err := exec.CommandContext(t.Context(), "tar", args...).Output()
		must(t, err)
		forged := append(bytes.Clone(head[:len(head)-1024]), sparse...)
		r, err := archive.NewReader(bytes.NewReader(squeeze(t, forged)))
		must(t, err)
		if _, err := read(r); !errors.Is(err, archive.ErrUnsafe) {
			t.Errorf("%s: got %v, want ErrUnsafe", format, err)
		}
	}
}

func squeeze(tb testing.TB, b []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(b)
	must(tb, err)
	must(tb, z.Close())
	return out.Bytes()
}

func TestTruncationIsNoticedEverywhere(t *testing.T) {
	b, _ := pack(t, []byte("dump"))
	step := len(b)/997 + 1
	for n := 0; n < len(b); n += step {
		checkBroken(t, b[:n], n)
	}
	for n := len(b) - 200; n < len(b); n++ {
		checkBroken(t, b[:n], n)
	}
}

// TestFlippedBitsAreNoticed flips one bit at many places. A few bits of a gzip
// header mean nothing; what is read must then still be the original.
func TestFlippedBitsAreNoticed(t *testing.T) {
	b, _ := pack(t, []byte("dump"))
	want := contents(t, b)
	for i := 0; i < len(b); i += len(b)/1499 + 1 {
		bad := bytes.Clone(b)
		bad[i] ^= 1 << (i % 8)
		r, err := archive.NewReader(bytes.NewReader(bad))
		var got []content
		if err == nil {
			got, err = read(r)
		}
		if errors.Is(err, io.EOF) {
			if !sameContent(got, want) {
				t.Errorf("bit flipped in byte %d: other content passed as verified", i)
			}
		} else if !errors.Is(err, archive.ErrCorrupt) && !errors.Is(err, archive.ErrUnsafe) && !errors.Is(err, archive.ErrVersion) {
			t.Errorf("bit flipped in byte %d: %v", i, err)
		}
	}
}

func contents(t *testing.T, b []byte) []content {
	t.Helper()
	r, err := archive.NewReader(bytes.NewReader(b))
	must(t, err)
	got, err := read(r)
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return got
}

func sameContent(a, b []content) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name || !bytes.Equal(a[i].data, b[i].data) {
			return false
		}
	}
	return true
}

func checkBroken(t *testing.T, b []byte, n int) {
	t.Helper()
	r, err := archive.NewReader(bytes.NewReader(b))
	if err == nil {
		_, err = read(r)
	}
	if !errors.Is(err, archive.ErrCorrupt) {
		t.Errorf("cut at %d: got %v, want ErrCorrupt", n, err)
	}
}

func TestOrderMatters(t *testing.T) {
	for name, entries := range map[string][]tar.Header{
		"entry without index":  {reg("config/a"), reg("warnings.jsonl")},
		"part without index":   {reg("config/a"), reg("storage/a")},
		"entry after warnings": {reg("warnings.jsonl"), reg("config/a")},
		"two warnings":         {reg("warnings.jsonl"), reg("warnings.jsonl")},
		"wrong index number":   {reg("config/a"), reg("manifest/0000001.jsonl")},
	} {
		r, err := archive.NewReader(bytes.NewReader(forge(t, entries...)))
		must(t, err)
		if _, err := read(r); !errors.Is(err, archive.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
	}
}

func TestDataBehindTheEndIsRefused(t *testing.T) {
	b, _ := pack(t, nil)
	checkBroken(t, append(bytes.Clone(b), 'x'), len(b))
	checkBroken(t, append(bytes.Clone(b), squeeze(t, []byte("more"))...), len(b))
}

func TestLaterFormatIsNamed(t *testing.T) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	j := []byte(`{"format":2}`)
	must(t, w.WriteHeader(&tar.Header{Name: "holdfast.json", Typeflag: tar.TypeReg, Size: int64(len(j))}))
	_, err := w.Write(j)
	must(t, err)
	must(t, w.Close())
	if _, err := archive.NewReader(bytes.NewReader(squeeze(t, out.Bytes()))); !errors.Is(err, archive.ErrVersion) {
		t.Errorf("got %v, want ErrVersion", err)
	}
}

// TestBombsCostNoMemory reads a huge index and a huge header: both are cut off
// at the limit of the format.
func TestBombsCostNoMemory(t *testing.T) {
	big := reg("manifest/0000000.jsonl")
	big.Size = 200 << 20
	bomb := forge(t, reg("config/a"), big)
	before := allocated()
	checkBroken(t, bomb, len(bomb))
	if grown := allocated() - before; grown > 32<<20 {
		t.Errorf("%d bytes allocated for a bomb", grown)
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func extract(t *testing.T, b []byte, o archive.ExtractOptions) (dir string, err error) {
	t.Helper()
	dir = t.TempDir()
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer func() { must(t, root.Close()) }()
	r, err := archive.NewReader(bytes.NewReader(b))
	must(t, err)
	return dir, archive.Extract(context.Background(), root, r, o)
}

var plenty = archive.ExtractOptions{MaxBytes: 1 << 30, MaxEntries: 1000}

func TestExtractWritesEverything(t *testing.T) {
	b, _ := pack(t, []byte("dump"))
	dir, err := extract(t, b, plenty)
	must(t, err)
	for _, cs := range sample() {
		for _, c := range cs {
			if c.Kind != archive.File {
				continue
			}
			got, err := os.ReadFile(filepath.Join(dir, c.Name))
			if err != nil || !bytes.Equal(got, c.data) {
				t.Errorf("%s: %v or other content", c.Name, err)
			}
			if fi, err := os.Stat(filepath.Join(dir, c.Name)); err != nil || fi.Mode() != c.Mode || !fi.ModTime().Equal(c.ModTime) {
				t.Errorf("%s: %v, %v", c.Name, fi, err)
			}
		}
	}
	if got, err := os.Readlink(filepath.Join(dir, "config/volumes/link")); err != nil || got != "../.env" {
		t.Errorf("link: %q, %v", got, err)
	}
}

func TestExtractKeepsToItsLimits(t *testing.T) {
	b, _ := pack(t, []byte("dump"))
	for _, o := range []archive.ExtractOptions{{MaxBytes: 1000, MaxEntries: 1000}, {MaxBytes: 1 << 30, MaxEntries: 3}} {
		if _, err := extract(t, b, o); !errors.Is(err, archive.ErrLimit) {
			t.Errorf("%+v: got %v, want ErrLimit", o, err)
		}
	}
}

func TestExtractDoesNotFollowLinks(t *testing.T) {
	b := forge(t, tar.Header{Name: "config/d", Typeflag: tar.TypeDir}, link("config/l", "d"), reg("config/l/x"))
	if _, err := extract(t, b, plenty); !errors.Is(err, archive.ErrUnsafe) {
		t.Errorf("entry below a link: got %v, want ErrUnsafe", err)
	}
	b = forge(t, reg("config/a"), reg("config/a"))
	if _, err := extract(t, b, plenty); !errors.Is(err, archive.ErrCorrupt) {
		t.Errorf("same name twice: got %v, want ErrCorrupt", err)
	}
}

// small returns an archive with a file and a link.
func small(tb testing.TB) []byte {
	tb.Helper()
	var b bytes.Buffer
	w, err := archive.NewWriter(&b, header)
	must(tb, err)
	must(tb, w.Begin("config"))
	must(tb, w.Add(file("config/a", []byte("abc")).Entry, strings.NewReader("abc")))
	must(tb, w.Add(archive.Entry{Name: "config/d/l", Kind: archive.Link, Target: "../a"}, nil))
	_, err = w.Close()
	must(tb, err)
	return b.Bytes()
}

// TestSumOfAMember flips a bit of what gzip itself checks: the sum and the size behind
// the first member.
func TestSumOfAMember(t *testing.T) {
	b := small(t)
	_, err := extract(t, b, plenty)
	must(t, err)
	end := int(binary.LittleEndian.Uint32(b[16:])) // see FORMAT.md
	for at := end - 8; at < end; at++ {
		bad := bytes.Clone(b)
		bad[at] ^= 1
		if _, err := extract(t, bad, plenty); !errors.Is(err, archive.ErrCorrupt) {
			t.Errorf("byte %d before the end of a member: got %v, want ErrCorrupt", end-at, err)
		}
	}
}

// FuzzReader varies what lies inside the gzip members, whose own sums would
// stop most variations early, and the bytes of the archive itself. Run it with
// -fuzzminimizetime 1x: goroutines make the coverage vary, and what varies is
// minimized for a minute each.
func FuzzReader(f *testing.F) {
	b := small(f)
	f.Add(b, false)
	for _, gz := range [][]byte{b, forge(f, reg("config/a"), link("config/l", "a"), reg("manifest/0000000.jsonl"))} {
		z, err := gzip.NewReader(bytes.NewReader(gz))
		must(f, err)
		plain, err := io.ReadAll(z)
		must(f, err)
		f.Add(plain, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, plain bool) {
		if plain {
			b = squeeze(t, b)
		}
		outside := t.TempDir()
		dir := filepath.Join(outside, "in")
		must(t, os.Mkdir(dir, 0o700))
		root, err := os.OpenRoot(dir)
		must(t, err)
		defer func() { must(t, root.Close()) }()
		if r, err := archive.NewReader(bytes.NewReader(b)); err == nil {
			_ = archive.Extract(context.Background(), root, r, archive.ExtractOptions{MaxBytes: 1 << 20, MaxEntries: 100})
		}
		if m, err := archive.ReadManifest(bytes.NewReader(b), int64(len(b))); err == nil {
			for _, p := range m.Parts {
				_, _ = read(archive.NewPartReader(bytes.NewReader(b), p))
			}
		}
		if ls, err := os.ReadDir(outside); err != nil || len(ls) != 1 {
			t.Errorf("written outside the target: %v, %v", ls, err)
		}
	})
}
