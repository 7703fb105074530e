package worker

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/archive"
)

// packed is an archive with a large part before a small one.
func packed(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := archive.NewWriter(&b, archive.Header{ID: "backup-a", Project: "p", Type: "full", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 40<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	add(t, w, "storage", noise)
	add(t, w, "functions", []byte("Deno.serve();\n"))
	add(t, w, "config", noise[:10<<20])
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func add(t *testing.T, w *archive.Writer, part string, data []byte) {
	t.Helper()
	if err := w.Begin(part); err != nil {
		t.Fatal(err)
	}
	if err := w.Add(archive.Entry{Name: part + "/a", Kind: archive.File, Size: int64(len(data)), Mode: 0o600, ModTime: time.Now()}, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
}

func from(b []byte) *source {
	s := newSource(int64(len(b)), func(off, n int64) ([]byte, error) { return b[off : off+n], nil })
	s.plain = s
	return s
}

// TestAPartIsFetchedAlone counts the bytes that a small part of a large archive
// costs.
func TestAPartIsFetchedAlone(t *testing.T) {
	b := packed(t)
	s := from(b)
	m, err := archive.ReadManifest(s, s.size)
	if err != nil {
		t.Fatal(err)
	}
	s.manifest = m
	if err := s.verify([]string{"functions"}); err != nil {
		t.Fatal(err)
	}
	// The end, and where the part lies, each with what is fetched ahead.
	if most := int64(2 * (1 + aheadMax) * chunkSize); s.read.Load() > most || s.read.Load() == 0 {
		t.Errorf("%d bytes of %d were fetched, want at most %d", s.read.Load(), len(b), most)
	}
	if err := s.verify([]string{"storage", "functions", "config"}); err != nil {
		t.Fatal(err)
	}
}

func TestReadAtAnyPlace(t *testing.T) {
	b := packed(t)
	s := from(b)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		off := rnd.Int64N(s.size)
		p := make([]byte, rnd.IntN(2*chunkSize))
		n, err := s.ReadAt(p, off)
		if want := min(int64(len(p)), s.size-off); int64(n) != want || !bytes.Equal(p[:n], b[off:off+want]) || err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("%d bytes at %d: %d, %v", len(p), off, n, err)
		}
	}
}

func TestErrorsOfTheDestinationAreTold(t *testing.T) {
	b := packed(t)
	gone := errors.New("gone")
	for _, c := range []struct {
		fetch func(off, n int64) ([]byte, error)
		want  func(error) bool
	}{
		{func(int64, int64) ([]byte, error) { return nil, gone }, func(err error) bool { return errors.Is(err, gone) }},
		{func(off, n int64) ([]byte, error) { return b[off : off+n/2], nil }, func(err error) bool {
			_, ok := errors.AsType[*archiveError](err)
			return ok
		}},
	} {
		s := newSource(int64(len(b)), c.fetch)
		s.plain = s
		_, err := archive.ReadManifest(s, s.size)
		if err == nil || !c.want(s.explain(err)) {
			t.Errorf("got %v", s.explain(err))
		}
	}
}

// TestWhatWasProvedIsWhatIsRead replaces the object after it was looked at.
func TestWhatWasProvedIsWhatIsRead(t *testing.T) {
	honest := packed(t)
	forged := bytes.Clone(honest)
	for i := range forged {
		forged[i] ^= byte(i >> 20)
	}
	sum := sha256.Sum256(honest)
	for name, proved := range map[string]bool{"the whole was proved": true, "the manifest vouches": false} {
		stored := honest
		s := newSource(int64(len(honest)), func(off, n int64) ([]byte, error) { return stored[off : off+n], nil })
		s.plain = s
		if proved {
			if err := s.prove(hex.EncodeToString(sum[:])); err != nil {
				t.Fatal(err)
			}
		}
		m, err := archive.ReadManifest(s, s.size)
		if err != nil {
			t.Fatal(err)
		}
		s.manifest, stored = m, forged
		err = s.explain(s.verify([]string{"storage"}))
		if proved && !errors.Is(err, errSwapped) || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := from(forged)
	if err := s.prove(hex.EncodeToString(sum[:])); !errors.Is(err, errChanged) {
		t.Errorf("another object: %v", err)
	}
}
