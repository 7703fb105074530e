package worker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/backup/worker"
)

// broken appends an event that cannot be decoded.
func (b *bench) broken(a events.Aggregate) {
	b.t.Helper()
	last, _ := b.log.Last(b.t.Context(), a) // there may be none
	if _, err := b.log.Append(b.t.Context(), a, last.Revision, events.Broken{Type: "backup.started.v1", Err: events.ErrBroken}, events.Cause{}); err != nil {
		b.t.Fatal(err)
	}
}

// TestSweepPassesABrokenEvent sweeps objects of a backup that cannot be read, which
// stay, and of one that is superseded.
func TestSweepPassesABrokenEvent(t *testing.T) {
	b := newBench(t, fine, func(c *worker.Config) { c.Mark = "m" })
	env := b.request()
	b.append(events.BackupStarted{Attempt: 1, Worker: "dead", Token: "one"})
	b.append(events.BackupStarted{Attempt: 2, Worker: "dead"})
	if err := b.w.Handle(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	own := b.put(1, backup.Mark("m", "one"))
	id := backup.NewID()
	other := backup.ObjectKey("p", backup.Config, id, time.Now(), 1, false)
	if _, err := destination.WithMark(b.store, "m").Put(t.Context(), other, strings.NewReader("an archive"), 0); err != nil {
		t.Fatal(err)
	}
	b.broken(events.BackupAggregate("p", id))
	b.aged()
	found, err := b.w.Sweep(t.Context(), b.log, true)
	if err != nil || len(found) != 2 || worker.Removed(found) != 1 {
		t.Errorf("found %+v, %v", found, err)
	}
	b.kept(other)
	if _, err := b.store.Stat(t.Context(), own); err == nil {
		t.Errorf("%s is left behind", own)
	}
}

// TestBrokenProjectStopsNoOther registers two projects of which one has an event that
// cannot be decoded.
func TestBrokenProjectStopsNoOther(t *testing.T) {
	b := newBench(t, fine, func(c *worker.Config) {
		c.Projects = append(c.Projects, worker.Project{ID: "q", Name: "Q", Resolve: c.Projects[0].Resolve})
	})
	b.broken(events.ProjectAggregate("p"))
	if err := b.w.Register(t.Context()); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"p", "q"} {
		if env, err := b.log.Last(t.Context(), events.ProjectAggregate(id)); err != nil || env.Event.EventType() != (events.ProjectRegistered{}).EventType() {
			t.Errorf("%s: %+v, %v", id, env, err)
		}
	}
}
