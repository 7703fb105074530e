package worker_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/backup/worker"
)

// key returns where an attempt of the backup stores its archive.
func (b *bench) key(attempt int) string {
	return backup.ObjectKey("p", backup.Config, b.a.ID, b.state().Created, attempt, false)
}

// put stores something under the name of an attempt's archive, with a mark.
func (b *bench) put(attempt int, mark string) (key string) {
	b.t.Helper()
	key = b.key(attempt)
	if _, err := destination.WithMark(b.store, mark).Put(b.t.Context(), key, strings.NewReader("an archive"), 0); err != nil {
		b.t.Fatal(err)
	}
	return key
}

// kept fails the test unless what put has stored is still there.
func (b *bench) kept(key string) {
	b.t.Helper()
	r, err := b.store.Open(b.t.Context(), key, 0, -1)
	if err != nil {
		b.t.Fatalf("%s was destroyed: %v", key, err)
	}
	defer r.Close()
	if text, err := io.ReadAll(r); err != nil || string(text) != "an archive" {
		b.t.Errorf("%s holds %q, %v", key, text, err)
	}
}

// TestArchiveInTheWay makes a backup on a log that has lost an archive of the same
// name, which bears the mark of the installation.
func TestArchiveInTheWay(t *testing.T) {
	b := newBench(t, fine, func(c *worker.Config) { c.Mark = "m" })
	env := b.request()
	lost := b.put(1, backup.Mark("m", "token of an attempt that the log has lost"))
	if _, retry := events.RetryDelay(b.w.Handle(t.Context(), env)); !retry {
		t.Fatal("the backup does not try another name")
	}
	last, err := b.log.Last(t.Context(), b.a)
	if failed, ok := last.Event.(events.BackupFailed); !ok || failed.Final || !strings.Contains(failed.Message, "run `holdfastd adopt` first") {
		t.Errorf("got %+v, %v", last.Event, err)
	}
	b.kept(lost)
	if err := b.w.Handle(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	s := b.state()
	if s.Completed == nil || s.Completed.Key != b.key(2) || len(s.Completed.Warnings) != 1 || s.Completed.Warnings[0].Code != "unknown_archive" {
		t.Errorf("completed %+v", s.Completed)
	}
	b.kept(lost)
	if err := b.w.Delete(t.Context(), &backup.Delete{ID: b.a.ID, Project: "p", Pool: "default"}, events.Cause{}); err != nil || !b.state().Deleted {
		t.Errorf("%v, state %+v", err, b.state())
	}
	b.kept(lost)
}

// late is a store at which something appears just before an archive is stored.
type late struct {
	destination.Store
	appear func()
}

func (l late) Put(ctx context.Context, key string, r io.Reader, e destination.Estimate) (destination.Info, error) {
	l.appear()
	return l.Store.Put(ctx, key, r, e)
}

// TestArchiveAppearsLate stores another archive under the name while the backup runs.
func TestArchiveAppearsLate(t *testing.T) {
	var b *bench
	var lost string
	b = newBench(t, fine, func(c *worker.Config) {
		c.Destinations["local"] = late{c.Destinations["local"], func() { lost = b.put(1, "") }}
	})
	if err := b.w.Handle(t.Context(), b.request()); err == nil {
		t.Error("completed over another archive")
	}
	b.kept(lost)
}

// TestFailedAttemptsRemoveOnlyTheirOwn ends a backup whose attempts died: what bears
// their tokens goes, what stands under their names stays.
func TestFailedAttemptsRemoveOnlyTheirOwn(t *testing.T) {
	b := newBench(t, fine, func(c *worker.Config) { c.Mark = "m" })
	env := b.request()
	for n, token := range []string{"one", "two", "three"} {
		b.append(events.BackupStarted{Attempt: n + 1, Worker: "dead", Token: token})
	}
	own, other, otherInstallation := b.put(1, backup.Mark("m", "one")), b.put(2, backup.Mark("m", "one")), b.put(3, backup.Mark("n", "three"))
	if err := b.w.Handle(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if s := b.state(); s.Failed == nil {
		t.Fatalf("state %+v", s)
	}
	b.kept(other)
	b.kept(otherInstallation)
	if _, err := b.store.Stat(t.Context(), own); !errors.Is(err, destination.ErrNotExist) {
		t.Errorf("%s is left behind: %v", own, err)
	}
	if err := b.w.Delete(t.Context(), &backup.Delete{ID: b.a.ID, Project: "p", Pool: "default"}, events.Cause{}); err != nil {
		t.Fatal(err)
	}
	b.kept(other)
	b.kept(otherInstallation)
}

// TestAttemptsOfOlderVersions had no tokens: what stands under their names stays.
func TestAttemptsOfOlderVersions(t *testing.T) {
	b := newBench(t, fine, func(c *worker.Config) { c.Mark = "m" })
	env := b.request()
	b.append(events.BackupStarted{Attempt: 1, Worker: "old"})
	lost := b.put(1, "m")
	if err := b.w.Handle(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	b.kept(lost)
}

// TestSweepRemovesOnlyWhatIsRecorded sweeps objects of a backup that another attempt
// completed, and one that the log does not know.
func TestSweepRemovesOnlyWhatIsRecorded(t *testing.T) {
	b := newBench(t, fine, func(c *worker.Config) { c.Mark = "m" })
	env := b.request()
	b.append(events.BackupStarted{Attempt: 1, Worker: "dead", Token: "one"})
	b.append(events.BackupStarted{Attempt: 2, Worker: "dead"})
	if err := b.w.Handle(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	own, other := b.put(1, backup.Mark("m", "one")), b.put(2, "m")
	lost := backup.ObjectKey("p", backup.Config, backup.NewID(), time.Now(), 1, false)
	if _, err := destination.WithMark(b.store, backup.Mark("m", "lost")).Put(t.Context(), lost, strings.NewReader("an archive"), 0); err != nil {
		t.Fatal(err)
	}
	b.aged()
	found, err := b.w.Sweep(t.Context(), b.log, true)
	if err != nil || len(found) != 3 || worker.Removed(found) != 1 {
		t.Errorf("found %+v, %v", found, err)
	}
	b.kept(other)
	b.kept(lost)
	if _, err := b.store.Stat(t.Context(), own); !errors.Is(err, destination.ErrNotExist) {
		t.Errorf("%s is left behind: %v", own, err)
	}
	if s := b.state(); s.Completed == nil {
		t.Errorf("state %+v", s)
	} else if _, err := b.store.Stat(t.Context(), s.Completed.Key); err != nil {
		t.Error(err)
	}
}

// TestUnmarkedStore keeps no marks: an attempt that fails removes what it has stored
// itself, and no more.
func TestUnmarkedStore(t *testing.T) {
	d := &denying{}
	b := newBench(t, func(context.Context, *archive.Writer) error { return &project.Error{Sentence: "Gone.", Retry: true} }, func(c *worker.Config) {
		d.Store = c.Destinations["local"]
		c.Destinations["local"] = d
	})
	env := b.request()
	b.append(events.BackupStarted{Attempt: 1, Worker: "dead", Token: "one"})
	lost := b.put(1, "")
	_ = b.w.Handle(t.Context(), env)
	b.kept(lost)
	if keys := b.objects(); len(keys) != 1 {
		t.Errorf("left behind: %v", keys)
	}
}

// noSidecar is a store without marks that takes no sidecars.
type noSidecar struct{ destination.Store }

func (n noSidecar) Put(ctx context.Context, key string, r io.Reader, e destination.Estimate) (destination.Info, error) {
	if strings.HasSuffix(key, ".json") {
		return destination.Info{}, destination.ErrDenied
	}
	return n.Store.Put(ctx, key, r, e)
}

// TestFailedSidecar removes the archive that the same attempt has stored.
func TestFailedSidecar(t *testing.T) {
	b := newBench(t, fine, func(c *worker.Config) { c.Destinations["local"] = noSidecar{c.Destinations["local"]} })
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	if s := b.state(); s.Failed == nil || len(b.objects()) != 0 {
		t.Errorf("state %+v, left behind %v", s, b.objects())
	}
}
