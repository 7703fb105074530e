package archive_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/holdfast-dev/holdfast/archive"
)

// TestSparseFilesStaySparse and are the same to the byte.
func TestSparseFilesStaySparse(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var b bytes.Buffer
	w, err := archive.NewWriter(&b, header)
	must(t, err)
	must(t, w.Begin("config"))
	want, holes := map[string][]byte{}, int64(0)
	for i := range 30 {
		data := make([]byte, r.IntN(40<<10)+1)
		for at := 0; at < len(data); at += 4096 {
			if r.IntN(3) > 0 {
				data[min(at+r.IntN(4096), len(data)-1)] = 1
			}
		}
		for at := 0; at+4096 <= len(data); at += 4096 {
			if bytes.Equal(data[at:at+4096], make([]byte, 4096)) {
				holes += 4096
			}
		}
		name := "config/" + string(rune('a'+i%26)) + string(rune('a'+i/26))
		want[name] = data
		must(t, w.Add(file(name, data).Entry, bytes.NewReader(data)))
	}
	want["config/hole"] = slices.Concat(make([]byte, 20<<20), []byte("end\n"))
	must(t, w.Add(file("config/hole", want["config/hole"]).Entry, bytes.NewReader(want["config/hole"])))
	m, err := w.Close()
	must(t, err)
	if m.Parts[0].Zeros != holes+20<<20 {
		t.Errorf("%d bytes of zeros, want %d", m.Parts[0].Zeros, holes+20<<20)
	}
	asked := int64(0)
	o := plenty
	o.Room = func(n int64) error { asked += n; return nil }
	dir, err := extract(t, b.Bytes(), o)
	must(t, err)
	for name, data := range want {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %v, or other content", name, err)
		}
	}
	var st syscall.Stat_t
	must(t, syscall.Stat(filepath.Join(dir, "config/hole"), &st))
	if st.Blocks*512 > 64<<10 || asked != m.Bytes-m.Parts[0].Zeros {
		t.Errorf("%d bytes on the disk; asked for %d of %d", st.Blocks*512, asked, m.Bytes)
	}
}
