package worker_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// made returns an archive with files in one part.
func made(t *testing.T, part string, names ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := archive.NewWriter(&out, archive.Header{ID: "b", Project: "p", Type: part, CreatedAt: time.Now()})
	if err == nil {
		err = w.Begin(part)
	}
	for _, name := range names {
		if err == nil {
			err = w.Add(archive.Entry{Name: part + "/" + name, Kind: archive.File, Size: 3, Mode: 0o600, ModTime: time.Now()}, strings.NewReader("abc"))
		}
	}
	if err == nil {
		_, err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// renamed gives the first entry of a name another one, of the same letters: the sum of
// its head stays right.
func renamed(t *testing.T, b []byte, from, to string) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	again := gzip.NewWriter(&out)
	if _, err := again.Write(bytes.Replace(plain, []byte(from), []byte(to), 1)); err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestVerifyReadsAsStrictlyAsARestore archives whose checksum is the one that was
// stored, and says what is wrong with them.
func TestVerifyReadsAsStrictlyAsARestore(t *testing.T) {
	for name, c := range map[string]struct {
		archive []byte
		want    string
	}{
		"whole":                 {made(t, project.Config, "ab", "ba"), ""},
		"a name twice":          {renamed(t, made(t, project.Config, "ab", "ba"), "config/ba", "config/ab"), "The archive is damaged: it holds the same name twice"},
		"a file and a folder":   {renamed(t, made(t, project.Config, "ab/c", "ba"), "config/ba", "config/ab"), "The archive is damaged: it holds a file and a folder of the same name"},
		"no fingerprint":        {made(t, project.Database, "globals.sql"), "The archive is damaged: the fingerprint of its databases is missing or cannot be read"},
		"a dump that is none":   {made(t, project.Database, "postgres.dump/0000000"), "The archive is damaged: the dump of a database in it cannot be read"},
		"another name in it":    {renamed(t, made(t, project.Config, "ab", "cd"), "config/cd", "config/dc"), "The archive is damaged: what was read does not match its sums"},
		"a dump in two folders": {made(t, project.Database, "a/b/c"), "The archive is damaged: it holds something unsafe"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fine)
			b.a.ID = "b" // as in the archives
			var parts []events.Part
			if m, err := archive.ReadManifest(bytes.NewReader(c.archive), int64(len(c.archive))); err == nil { // those with another name have no trailer
				for _, p := range m.Parts {
					parts = append(parts, events.Part{Name: p.Name, Bytes: p.Bytes, Entries: p.Entries})
				}
			}
			info, err := b.store.Put(t.Context(), "p/b.tar.gz", bytes.NewReader(c.archive), destination.Estimate(len(c.archive)))
			if err != nil {
				t.Fatal(err)
			}
			for i, e := range []events.Event{
				events.BackupRequested{Pool: "default", Type: backup.Full, Destination: "local"},
				events.BackupStarted{Attempt: 1, Worker: "w"},
				events.BackupCompleted{Attempt: 1, Pool: "default", Key: info.Key, Size: info.Size, SHA256: info.SHA256, Parts: parts},
			} {
				if _, err := b.log.Append(t.Context(), b.a, events.Revision(i), e, events.Cause{}); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.w.Verify(t.Context(), &backup.Verify{ID: b.a.ID, Project: "p", Pool: "default"}, events.Cause{}); err != nil {
				t.Fatal(err)
			}
			last, err := b.log.Last(t.Context(), b.a)
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := last.Event.(events.BackupVerified); !ok || got.OK != (c.want == "") || got.Message != c.want {
				t.Errorf("got %+v", last.Event)
			}
		})
	}
}
