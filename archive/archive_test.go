package archive_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/holdfast-dev/holdfast/archive"
)

var update = flag.Bool("update", false, "write the golden archive")

var when = time.Date(2026, 1, 19, 2, 0, 0, 0, time.UTC)

type content struct {
	archive.Entry
	data []byte
}

// noise returns n bytes that do not compress, the same for the same n.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(b)
	return b
}

func file(name string, data []byte) content {
	return content{archive.Entry{Name: name, Kind: archive.File, Size: int64(len(data)), Mode: 0o640, ModTime: when, UID: 1000, GID: 100}, data}
}

func sample() map[string][]content {
	avatar := file("storage/stub/avatars/ünïcode/0f", noise(80<<10))
	avatar.Xattrs = map[string]string{"user.supabase.content-type": "image/png", "user.supabase.cache-control": "max-age=3600"}
	return map[string][]content{
		"storage": {
			{archive.Entry{Name: "storage/stub", Kind: archive.Dir, Mode: 0o750, ModTime: when}, nil},
			avatar,
			file("storage/stub/empty", nil),
			file("storage/stub/text", bytes.Repeat([]byte("compressible "), 50_000)),
			file("storage/stub/not-utf8-\xff", []byte("x")),
			file("storage/"+strings.Repeat("long/", 60)+"name", []byte("deep")),
		},
		"config": {
			file("config/.env", []byte("SECRET=1\n")),
			{archive.Entry{Name: "config/volumes/link", Kind: archive.Link, Target: "../.env", ModTime: when}, nil},
		},
	}
}

var header = archive.Header{ID: "backup-a", Project: "p", Name: "P", Type: "full", CreatedAt: when, Attempt: 1}

// pack writes an archive with a streamed dump and the sample.
func pack(tb testing.TB, dump []byte) ([]byte, archive.Manifest) {
	tb.Helper()
	var b bytes.Buffer
	w, err := archive.NewWriter(&b, header)
	must(tb, err)
	must(tb, w.Begin("database"))
	p, err := w.Pieces(archive.Entry{Name: "database/postgres.dump", Mode: 0o755, ModTime: when})
	must(tb, err)
	_, err = p.Write(dump)
	must(tb, err)
	must(tb, p.Close())
	for _, part := range []string{"storage", "config"} {
		must(tb, w.Begin(part))
		for _, c := range sample()[part] {
			must(tb, w.Add(c.Entry, bytes.NewReader(c.data)))
		}
	}
	must(tb, w.Warn(archive.Warning{Part: "storage", Code: "file_vanished", Name: "a", Sentence: "a vanished."}))
	m, err := w.Close()
	must(tb, err)
	return b.Bytes(), m
}

// read returns what a reader yields, and the error that ended it.
func read(r *archive.Reader) (got []content, err error) {
	for {
		e, err := r.Next()
		if err != nil {
			return got, err
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return got, err
		}
		got = append(got, content{e, data})
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	dump := append(bytes.Repeat([]byte("row\t1\n"), 2_000_000), noise(5<<20)...)
	b, m := pack(t, dump)
	r, err := archive.NewReader(bytes.NewReader(b))
	must(t, err)
	got, err := read(r)
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r.Manifest(), m) {
		t.Errorf("manifest\n%+v\nwant\n%+v", r.Manifest(), m)
	}
	if ws := r.Warnings(); len(ws) != 1 || ws[0].Code != "file_vanished" {
		t.Errorf("warnings %+v", ws)
	}
	var joined []byte
	seen := map[string]content{}
	for _, c := range got {
		seen[c.Name] = c
		if strings.HasPrefix(c.Name, "database/postgres.dump/") {
			if len(c.data) > 8<<20 {
				t.Errorf("piece %s has %d bytes", c.Name, len(c.data))
			}
			joined = append(joined, c.data...)
		}
	}
	if !bytes.Equal(joined, dump) {
		t.Error("the joined pieces are not the dump")
	}
	for _, cs := range sample() {
		for _, want := range cs {
			got := seen[want.Name]
			got.ModTime, want.ModTime = got.ModTime.UTC(), want.ModTime.UTC()
			if !bytes.Equal(got.data, want.data) || !reflect.DeepEqual(got.Entry, want.Entry) {
				t.Errorf("got %+v, want %+v", got.Entry, want.Entry)
			}
		}
	}
	if len(b) > len(dump)/2+6<<20 {
		t.Errorf("%d bytes for a dump of %d", len(b), len(dump))
	}
}

// counter counts what is read through it.
type counter struct {
	io.ReaderAt
	n int64
}

func (c *counter) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	c.n += int64(n)
	return n, err
}

func TestOnePartIsReadByItsRange(t *testing.T) {
	b, want := pack(t, noise(20<<20))
	plain := &counter{ReaderAt: bytes.NewReader(b)}
	encrypted, view, size := encrypt(t, b)
	for _, c := range []struct {
		stored *counter
		r      io.ReaderAt
		size   int64
	}{{plain, plain, int64(len(b))}, {encrypted, view, size}} {
		m, err := archive.ReadManifest(c.r, c.size)
		must(t, err)
		if !reflect.DeepEqual(m, want) {
			t.Errorf("manifest %+v, want %+v", m, want)
		}
		for _, p := range m.Parts {
			got, err := read(archive.NewPartReader(c.r, p))
			if !errors.Is(err, io.EOF) || int64(len(got)) != p.Entries {
				t.Errorf("part %s: %d entries, %v; want %d", p.Name, len(got), err, p.Entries)
			}
		}
		c.stored.n = 0
		_, _ = read(archive.NewPartReader(c.r, m.Parts[2]))
		if c.stored.n > c.size/20 {
			t.Errorf("read %d of %d bytes for a part of %d", c.stored.n, c.size, m.Parts[2].Length)
		}
	}
}

// encrypt returns b encrypted and a decrypted view of that.
// TestWarningsAreReadAlone for a few kilobytes, and with names of any bytes.
func TestWarningsAreReadAlone(t *testing.T) {
	for _, parts := range []int{0, 1} {
		var b bytes.Buffer
		w, err := archive.NewWriter(&b, header)
		must(t, err)
		want := []archive.Warning{{Part: "config", Code: "a", Name: "\xfe", Sentence: "one"}, {Part: "config", Code: "a", Name: "\xff", Sentence: "two"}}
		if parts > 0 {
			must(t, w.Begin("config"))
			data := noise(8 << 20)
			must(t, w.Add(file("config/a", data).Entry, bytes.NewReader(data)))
		}
		must(t, w.Warn(want...))
		_, err = w.Close()
		must(t, err)
		c := &counter{ReaderAt: bytes.NewReader(b.Bytes())}
		m, err := archive.ReadManifest(c, int64(b.Len()))
		must(t, err)
		got, err := archive.ReadWarnings(c, int64(b.Len()), m)
		if err != nil || !slices.Equal(got, want) || c.n > 200<<10 {
			t.Errorf("%+v, %v, after %d bytes", got, err, c.n)
		}
		m.WarningsSHA256 = strings.Repeat("0", 64)
		if _, err := archive.ReadWarnings(c, int64(b.Len()), m); !errors.Is(err, archive.ErrCorrupt) {
			t.Errorf("other warnings: %v", err)
		}
	}
	if got := archive.Printable("caf\xe9 é"); got != `caf\xe9 é` {
		t.Errorf("printable: %s", got)
	}
}

func encrypt(t *testing.T, b []byte) (stored *counter, view io.ReaderAt, size int64) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	must(t, err)
	var enc bytes.Buffer
	w, err := age.Encrypt(&enc, id.Recipient())
	must(t, err)
	_, err = w.Write(b)
	must(t, err)
	must(t, w.Close())
	stored = &counter{ReaderAt: bytes.NewReader(enc.Bytes())}
	view, size, err = age.DecryptReaderAt(stored, int64(enc.Len()), id)
	must(t, err)
	return stored, view, size
}

func TestStandardToolsOpenIt(t *testing.T) {
	dump := append(bytes.Repeat([]byte("abc"), 5<<20), noise(1<<20)...)
	b, _ := pack(t, dump)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "a.tar.gz"), b, 0o600))
	sh := func(cmd string) string {
		c := exec.CommandContext(t.Context(), "sh", "-c", cmd)
		c.Dir = dir
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
		return string(out)
	}
	sh("gzip -t a.tar.gz && mkdir x && tar --xattrs --xattrs-include='user.*' -xzf a.tar.gz -C x")
	sh("find x/database/postgres.dump -type f | sort | xargs cat > dump")
	if got, _ := os.ReadFile(filepath.Join(dir, "dump")); !bytes.Equal(got, dump) {
		t.Error("find | sort | xargs cat does not give the dump back")
	}
	if got := sh("stat -c %a x/config/.env; readlink x/config/volumes/link"); got != "640\n../.env\n" {
		t.Errorf("got %q", got)
	}
}

func TestProgressGrows(t *testing.T) {
	w, err := archive.NewWriter(io.Discard, header)
	must(t, err)
	must(t, w.Begin("config"))
	c := file("config/a", noise(1000))
	must(t, w.Add(c.Entry, bytes.NewReader(c.data)))
	if n, e := w.Progress(); n != 1000 || e != 2 {
		t.Errorf("progress %d bytes, %d entries", n, e)
	}
	w.Abort()
}

func TestShortContentIsFilledUp(t *testing.T) {
	var b bytes.Buffer
	w, err := archive.NewWriter(&b, header)
	must(t, err)
	must(t, w.Begin("config"))
	c := file("config/a", noise(1000))
	if err := w.Add(c.Entry, bytes.NewReader(c.data[:10])); !errors.Is(err, archive.ErrShort) {
		t.Fatalf("got %v, want ErrShort", err)
	}
	_, err = w.Close()
	must(t, err)
	r, err := archive.NewReader(&b)
	must(t, err)
	got, err := read(r)
	if !errors.Is(err, io.EOF) || !bytes.Equal(got[1].data, append(c.data[:10:10], make([]byte, 990)...)) {
		t.Errorf("%v: not filled up with zeros", err)
	}
}

type brokenPipe struct{ after int }

var errBroken = errors.New("broken")

func (b *brokenPipe) Write(p []byte) (int, error) {
	if b.after -= len(p); b.after < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

func TestErrorsOfTheUnderlyingWriterSurface(t *testing.T) {
	for _, after := range []int{0, 1 << 10, 1 << 20} {
		w, err := archive.NewWriter(&brokenPipe{after}, header)
		must(t, err)
		_ = w.Begin("config")
		c := file("config/a", noise(3<<20))
		_ = w.Add(c.Entry, bytes.NewReader(c.data))
		if _, err := w.Close(); !errors.Is(err, errBroken) {
			t.Errorf("after %d bytes: got %v", after, err)
		}
	}
}

func TestManyWarningsAreCut(t *testing.T) {
	var b bytes.Buffer
	w, err := archive.NewWriter(&b, header)
	must(t, err)
	long := strings.Repeat("x", 10_000)
	for range 2000 {
		must(t, w.Warn(archive.Warning{Code: "c", Sentence: long}))
	}
	m, err := w.Close()
	must(t, err)
	r, err := archive.NewReader(&b)
	must(t, err)
	if _, err := read(r); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	ws := r.Warnings()
	if int64(len(ws)) != m.Warnings || len(ws) > 900 || ws[len(ws)-1].Code != "more_warnings" {
		t.Errorf("%d warnings, the last is %+v", len(ws), ws[len(ws)-1])
	}
}

// TestGolden reads archives that earlier programs wrote: format 1 must be readable
// for ever, with sums of the bytes of parts, without, and without members that say
// their length, as the first were.
func TestGolden(t *testing.T) {
	const newest = "testdata/format1-sums.tar.gz"
	if *update {
		b, _ := pack(t, []byte("PGDMP"))
		must(t, os.WriteFile(newest, b, 0o600))
	}
	for _, name := range []string{"testdata/format1.tar.gz", "testdata/format1-lengths.tar.gz", newest} {
		golden(t, name)
	}
}

func golden(t *testing.T, name string) {
	t.Helper()
	b, err := os.ReadFile(name)
	must(t, err)
	r, err := archive.NewReader(bytes.NewReader(b))
	must(t, err)
	got, err := read(r)
	if !errors.Is(err, io.EOF) || len(got) != 3+7+3 {
		t.Errorf("%d entries, %v", len(got), err)
	}
	m, err := archive.ReadManifest(bytes.NewReader(b), int64(len(b)))
	if err != nil || m.ID != "backup-a" || len(m.Parts) != 3 {
		t.Errorf("manifest %+v, %v", m, err)
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(fmt.Errorf("unexpected: %w", err))
	}
}
