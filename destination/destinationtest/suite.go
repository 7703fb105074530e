// Package destinationtest holds every [destination.Store] to its promises.
package destinationtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/holdfast-dev/holdfast/destination"
)

// Options say what a store cannot do. Each is a limit of a stand-in or of a
// provider, and is printed.
type Options struct {
	Overwrites bool // a race of writers to one key has more than one winner
	Huge       int  // size of the largest object; default 300 MB
}

// TestStore runs the suite. open returns an empty store; it is called once for
// each subtest.
func TestStore(t *testing.T, o Options, open func(t *testing.T) destination.Store) {
	if o.Huge == 0 {
		o.Huge = 300_000_000
	}
	for name, test := range map[string]func(*testing.T, destination.Store){
		"PutReportsSizeAndChecksum":  putReports,
		"PutRefusesATakenKey":        putRefuses,
		"OneOfManyPutsWins":          func(t *testing.T, s destination.Store) { oneWins(t, s, o.Overwrites) },
		"SizesRoundTrip":             func(t *testing.T, s destination.Store) { sizes(t, s, o.Huge) },
		"UnusualKeys":                unusual,
		"ATrialLeavesNothing":        trial,
		"MarksTellPutsApart":         marks,
		"ListIsOrdered":              ordered,
		"TooLargeIsRefusedAtOnce":    tooLarge,
		"FailedPutLeavesNothing":     failedPut,
		"CancelledPutLeavesNothing":  cancelledPut,
		"OpenReadsRanges":            openRanges,
		"MissingObjectsAreNamed":     missing,
		"ListIsFiltered":             list,
		"DeleteIsRepeatable":         deleteTwice,
		"DeleteLeavesTheOthers":      deleteAlone,
		"BadKeysAreRefused":          badKeys,
		"EmptyObject":                empty,
		"ObjectsAreInvisibleAtFirst": invisible,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func put(t *testing.T, s destination.Store, key string, b []byte) destination.Info {
	t.Helper()
	info, err := s.Put(t.Context(), key, bytes.NewReader(b), destination.Estimate(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func get(t *testing.T, s destination.Store, key string, offset, length int64) []byte {
	t.Helper()
	r, err := s.Open(t.Context(), key, offset, length)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func putReports(t *testing.T, s destination.Store) {
	b := noise(3<<20 + 17)
	sum := sha256.Sum256(b)
	info := put(t, s, "p/a.tar.gz", b)
	if info.Key != "p/a.tar.gz" || info.Size != int64(len(b)) || info.SHA256 != hex.EncodeToString(sum[:]) || info.Path == "" {
		t.Errorf("got %+v", info)
	}
	if st, err := s.Stat(t.Context(), "p/a.tar.gz"); err != nil || st.Size != info.Size || st.Path != info.Path || st.ModTime.IsZero() {
		t.Errorf("stat %+v, %v; want %+v", st, err, info)
	}
	if !bytes.Equal(get(t, s, "p/a.tar.gz", 0, -1), b) {
		t.Error("read back other bytes")
	}
}

func marks(t *testing.T, s destination.Store) {
	for _, mark := range []string{"2026-11-25T04:00:00.123456789Z/one", "2026-11-25T04:00:00.123456789Z/two"} {
		key := "p/" + mark[len(mark)-3:]
		put(t, destination.WithMark(s, mark), key, []byte("x"))
		if info, err := s.Stat(t.Context(), key); err != nil || info.Mark != mark {
			t.Errorf("%s has the mark %q, %v; want %q", key, info.Mark, err, mark)
		}
	}
}

func putRefuses(t *testing.T, s destination.Store) {
	put(t, s, "p/a", []byte("one"))
	if _, err := s.Put(t.Context(), "p/a", bytes.NewReader([]byte("two")), 3); !errors.Is(err, destination.ErrExist) {
		t.Errorf("got %v, want ErrExist", err)
	}
	if got := get(t, s, "p/a", 0, -1); string(got) != "one" {
		t.Errorf("the object became %q", got)
	}
}

func oneWins(t *testing.T, s destination.Store, overwrites bool) {
	if overwrites {
		t.Skip("this store cannot keep the promise: it overwrites what was written meanwhile")
	}
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			_, err := s.Put(t.Context(), "p/a", bytes.NewReader(bytes.Repeat([]byte{byte(i)}, 100_000)), 0)
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, destination.ErrExist):
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	got := get(t, s, "p/a", 0, -1)
	if won.Load() != 1 || len(got) != 100_000 || !bytes.Equal(got, bytes.Repeat(got[:1], 100_000)) {
		t.Errorf("%d writers won; %d bytes", won.Load(), len(got))
	}
}

var errSource = errors.New("source failed")

func failedPut(t *testing.T, s destination.Store) {
	for _, n := range []int{0, 5 << 20, 40 << 20} {
		r := io.MultiReader(bytes.NewReader(noise(n)), errReader{})
		if _, err := s.Put(t.Context(), "p/a", r, 0); !errors.Is(err, errSource) {
			t.Errorf("after %d bytes: got %v, want the reader's error", n, err)
		}
		nothing(t, s)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errSource }

func cancelledPut(t *testing.T, s destination.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	r := readerFunc(func(p []byte) (int, error) {
		if n += len(p); n > 40<<20 {
			cancel()
		}
		return len(p), nil
	})
	if _, err := s.Put(ctx, "p/a", r, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	nothing(t, s)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func nothing(t *testing.T, s destination.Store) {
	t.Helper()
	for info, err := range s.List(t.Context(), "") {
		t.Errorf("left behind: %+v, %v", info, err)
	}
	if _, err := s.Stat(t.Context(), "p/a"); !errors.Is(err, destination.ErrNotExist) {
		t.Errorf("stat: %v, want ErrNotExist", err)
	}
	if u, ok := s.(destination.Uploader); ok {
		for left, err := range u.Unfinished(t.Context(), "p/a") {
			t.Errorf("unfinished: %+v, %v", left, err)
		}
	}
}

func openRanges(t *testing.T, s destination.Store) {
	b := noise(100_000)
	put(t, s, "p/a", b)
	for _, r := range []struct{ off, n, end int64 }{
		{0, 10, 10},
		{0, 100_000, 100_000},
		{0, 100_001, 100_000},
		{0, -1, 100_000},
		{0, 1, 1},
		{1, 1, 2},
		{99_990, 100, 100_000},
		{5, 0, 5},
		{50_000, -1, 100_000},
		{99_999, 1, 100_000},
		{99_999, -1, 100_000},
		{100_000, 1, 100_000},
		{100_000, -1, 100_000},
	} {
		if got := get(t, s, "p/a", r.off, r.n); !bytes.Equal(got, b[r.off:r.end]) {
			t.Errorf("range %+v: %d bytes", r, len(got))
		}
	}
}

func missing(t *testing.T, s destination.Store) {
	if _, err := s.Open(t.Context(), "p/none", 0, -1); !errors.Is(err, destination.ErrNotExist) {
		t.Errorf("open: %v", err)
	}
	if _, err := s.Stat(t.Context(), "p/none"); !errors.Is(err, destination.ErrNotExist) {
		t.Errorf("stat: %v", err)
	}
	put(t, s, "p/a", nil)
	if _, err := s.Stat(t.Context(), "p"); !errors.Is(err, destination.ErrNotExist) {
		t.Errorf("stat of a folder: %v", err)
	}
}

func list(t *testing.T, s destination.Store) {
	for _, k := range []string{"b/2", "a/1.json", "a/1", "ab/3", "a/0"} {
		put(t, s, k, []byte(k))
	}
	for prefix, want := range map[string][]string{
		"": {"a/0", "a/1", "a/1.json", "ab/3", "b/2"}, "a/": {"a/0", "a/1", "a/1.json"}, "a": {"a/0", "a/1", "a/1.json", "ab/3"}, "a/1": {"a/1", "a/1.json"}, "x/": nil,
	} {
		var got []string
		for info, err := range s.List(t.Context(), prefix) {
			if err != nil {
				t.Fatal(err)
			}
			if info.Size != int64(len(info.Key)) {
				t.Errorf("%+v", info)
			}
			got = append(got, info.Key)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("list %q: %v, want %v", prefix, got, want)
		}
	}
}

func trial(t *testing.T, s destination.Store) {
	if err := destination.Probe(t.Context(), s); err != nil {
		t.Error(err)
	}
	nothing(t, s)
}

// sizes stores and reads back objects of every kind of size.
func sizes(t *testing.T, s destination.Store, huge int) {
	b := noise(huge)
	for i, n := range []int{0, 1, 16<<20 - 1, 16 << 20, 16<<20 + 1, 40_000_000, huge} {
		if n > huge {
			continue
		}
		key := fmt.Sprintf("p/%d", i)
		sum := sha256.Sum256(b[:n])
		if info := put(t, s, key, b[:n]); info.Size != int64(n) || info.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("%d bytes: %+v", n, info)
		}
		r, err := s.Open(t.Context(), key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		if _, err := io.Copy(h, r); err != nil || !bytes.Equal(h.Sum(nil), sum[:]) {
			t.Errorf("%d bytes: read back others: %v", n, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
}

func unusual(t *testing.T, s destination.Store) {
	keys := []string{
		"-", "_", "a..b", "a-b/-x", "0/00/000", "p/2026-01-19-full-abcdefghij-a2.tar.gz.age.json", "p/a__--..b",
		strings.Repeat("k", 255), strings.Repeat("k", 200) + "/" + strings.Repeat("l", 200) + "/" + strings.Repeat("m", 110),
	}
	for _, k := range keys {
		put(t, s, k, []byte(k))
	}
	for _, k := range keys {
		if got := get(t, s, k, 0, -1); string(got) != k {
			t.Errorf("%s holds %q", k, got)
		}
	}
	slices.Sort(keys)
	if got := names(t, s, ""); !slices.Equal(got, keys) {
		t.Errorf("listed %v, want %v", got, keys)
	}
	for _, k := range keys {
		if err := s.Delete(t.Context(), k); err != nil {
			t.Error(err)
		}
	}
	if got := names(t, s, ""); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

func names(t *testing.T, s destination.Store, prefix string) (keys []string) {
	t.Helper()
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// ordered lists more keys than providers put into one answer.
func ordered(t *testing.T, s destination.Store) {
	var want []string
	var wg sync.WaitGroup
	limit := make(chan bool, 16)
	for i := range 2500 {
		key := fmt.Sprintf("p%d/%d-%d.json", i%3, i*7919%2500, i)
		if i%100 == 0 {
			key = fmt.Sprintf("p%d-a/%d", i%3, i) // sorts before "p0/"
		}
		want = append(want, key)
		limit <- true
		wg.Go(func() {
			defer func() { <-limit }()
			if _, err := s.Put(t.Context(), key, strings.NewReader("x"), 1); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	slices.Sort(want)
	if got := names(t, s, ""); !slices.Equal(got, want) {
		t.Errorf("listed %d keys, of which sorted: %v", len(got), slices.IsSorted(got))
	}
	if got := names(t, s, "p1/"); len(got) == 0 || len(got) > 900 || !slices.IsSorted(got) {
		t.Errorf("listed %d keys below p1/", len(got))
	}
}

func tooLarge(t *testing.T, s destination.Store) {
	r := readerFunc(func([]byte) (int, error) {
		t.Error("the stream was read")
		return 0, io.EOF
	})
	if _, err := s.Put(t.Context(), "p/a", r, 1<<60); !errors.Is(err, destination.ErrTooLarge) && !errors.Is(err, destination.ErrNoSpace) {
		t.Errorf("got %v, want ErrTooLarge or ErrNoSpace", err)
	}
}

// deleteAlone: the keys of others begin with the key that is deleted.
func deleteAlone(t *testing.T, s destination.Store) {
	for _, key := range []string{"p/a", "p/a.json", "p/ab", "p/a-b/c"} {
		put(t, s, key, []byte(key))
	}
	if err := s.Delete(t.Context(), "p/a"); err != nil {
		t.Error(err)
	}
	if got := names(t, s, ""); !slices.Equal(got, []string{"p/a-b/c", "p/a.json", "p/ab"}) {
		t.Errorf("left: %v", got)
	}
}

func deleteTwice(t *testing.T, s destination.Store) {
	put(t, s, "p/a", []byte("x"))
	for range 2 {
		if err := s.Delete(t.Context(), "p/a"); err != nil {
			t.Error(err)
		}
	}
	nothing(t, s)
	put(t, s, "p/a", []byte("y"))
}

func badKeys(t *testing.T, s destination.Store) {
	for _, k := range []string{"", "/a", "../a", "a/../b", "a//b", ".a", "A", "a b", "a\x00", "a/"} {
		if _, err := s.Put(t.Context(), k, bytes.NewReader(nil), 0); !errors.Is(err, destination.ErrKey) {
			t.Errorf("put %q: %v, want ErrKey", k, err)
		}
		if _, err := s.Open(t.Context(), k, 0, -1); !errors.Is(err, destination.ErrKey) {
			t.Errorf("open %q: %v, want ErrKey", k, err)
		}
		if err := s.Delete(t.Context(), k); !errors.Is(err, destination.ErrKey) {
			t.Errorf("delete %q: %v, want ErrKey", k, err)
		}
	}
}

func empty(t *testing.T, s destination.Store) {
	if info := put(t, s, "p/a", nil); info.Size != 0 {
		t.Errorf("got %+v", info)
	}
	if got := get(t, s, "p/a", 0, -1); len(got) != 0 {
		t.Errorf("got %d bytes", len(got))
	}
}

func invisible(t *testing.T, s destination.Store) {
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := s.Put(t.Context(), "p/a", r, 0)
		ended <- err
	}()
	if _, err := w.Write(noise(20 << 20)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stat(t.Context(), "p/a"); !errors.Is(err, destination.ErrNotExist) || len(names(t, s, "")) > 0 {
		t.Errorf("half of the object can be seen: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stat(t.Context(), "p/a"); err != nil {
		t.Error(err)
	}
}
