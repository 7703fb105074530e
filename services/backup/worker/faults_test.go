package worker_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/eventstest"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/backup/worker"
)

// eachFault runs a test with every way in which reading the log goes wrong.
func eachFault(t *testing.T, f func(t *testing.T, f eventstest.Fault)) {
	t.Helper()
	for _, fault := range eventstest.Faults() {
		t.Run(fault.String(), func(t *testing.T) { f(t, fault) })
	}
}

func (b *bench) completedOnce() {
	b.t.Helper()
	if s := b.state(); s.Completed == nil || len(b.objects()) != 2 || len(b.holders()) != 0 {
		b.t.Errorf("state %+v, objects %v, holders %v", s, b.objects(), b.holders())
	}
}

// TestRequestIsKept handles a request while the log cannot be read.
func TestRequestIsKept(t *testing.T) {
	eachFault(t, func(t *testing.T, f eventstest.Fault) {
		b := newBench(t, fine)
		env := b.request()
		b.reads.Set(f)
		if err := b.w.Handle(t.Context(), env); err == nil || errors.Is(err, events.ErrFenced) {
			t.Errorf("got %v: the request is lost", err)
		}
		b.reads.Set(eventstest.None)
		if err := b.w.Handle(t.Context(), env); err != nil {
			t.Fatal(err)
		}
		b.completedOnce()
	})
}

// TestFinishedArchiveIsKept lets the log fail when the archive is finished.
func TestFinishedArchiveIsKept(t *testing.T) {
	eachFault(t, func(t *testing.T, f eventstest.Fault) {
		var b *bench
		b = newBench(t, func(context.Context, *archive.Writer) error {
			b.reads.SetFor(f, 2)
			return nil
		})
		if err := b.w.Handle(t.Context(), b.request()); err != nil {
			t.Fatal(err)
		}
		b.completedOnce()
		if s := b.state(); s.Attempt != 1 {
			t.Errorf("attempt %d", s.Attempt)
		}
	})
}

// TestLostAcknowledgement lets the log take the end of a backup without saying so.
func TestLostAcknowledgement(t *testing.T) {
	var b *bench
	b = newBench(t, func(context.Context, *archive.Writer) error {
		b.reads.LoseAcks(1)
		return nil
	})
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	b.completedOnce()
}

// TestCommandsAreKept gives the worker commands about a backup while the log cannot
// be read.
func TestCommandsAreKept(t *testing.T) {
	eachFault(t, func(t *testing.T, f eventstest.Fault) {
		b := newBench(t, fine)
		if err := b.w.Handle(t.Context(), b.request()); err != nil {
			t.Fatal(err)
		}
		known := b.state().Revision
		b.reads.Set(f)
		if err := b.w.Verify(t.Context(), &backup.Verify{ID: b.a.ID, Project: "p", Pool: "default", Known: known}, events.Cause{}); err == nil {
			t.Error("the verification is lost")
		}
		del := &backup.Delete{ID: b.a.ID, Project: "p", Pool: "default", Known: known}
		if err := b.w.Delete(t.Context(), del, events.Cause{}); err == nil {
			t.Error("the deletion is lost")
		}
		b.completedOnce()
		b.reads.Set(eventstest.None)
		if err := b.w.Delete(t.Context(), del, events.Cause{}); err != nil || !b.state().Deleted || len(b.objects()) != 0 {
			t.Errorf("%v: state %+v, objects %v", err, b.state(), b.objects())
		}
	})
}

// TestSlotIsNotLeaked lets reads fail while a backup gives back its slot.
func TestSlotIsNotLeaked(t *testing.T) {
	eachFault(t, func(t *testing.T, f eventstest.Fault) {
		b := newBench(t, fine)
		env := b.request()
		if err := b.w.Handle(t.Context(), env); err != nil {
			t.Fatal(err)
		}
		h := events.Holder{Kind: events.KindBackup, ID: b.a.ID}
		last, err := b.log.Last(t.Context(), events.SlotAggregate("p"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.log.Append(t.Context(), events.SlotAggregate("p"), last.Revision, events.SlotAcquired{Holder: h, Holders: []events.Holder{h}}, events.Cause{}); err != nil {
			t.Fatal(err)
		}
		b.reads.Set(f)
		if err := b.w.Handle(t.Context(), env); err == nil && len(b.holders()) != 0 {
			t.Error("the slot is leaked")
		}
		b.reads.Set(eventstest.None)
		if err := b.w.Handle(t.Context(), env); err != nil || len(b.holders()) != 0 {
			t.Errorf("%v: holders %v", err, b.holders())
		}
	})
}

// aged makes everything at the destination old enough to be swept.
func (b *bench) aged() {
	b.t.Helper()
	old := time.Now().Add(-48 * time.Hour)
	for info, err := range b.store.List(b.t.Context(), "") {
		if err != nil {
			b.t.Fatal(err)
		}
		if err := os.Chtimes(info.Path, old, old); err != nil {
			b.t.Fatal(err)
		}
	}
}

// TestSweepNeedsTheLog sweeps while the log cannot be read.
func TestSweepNeedsTheLog(t *testing.T) {
	eachFault(t, func(t *testing.T, f eventstest.Fault) {
		b := newBench(t, fine, func(c *worker.Config) { c.Mark = "m" })
		if err := b.w.Handle(t.Context(), b.request()); err != nil {
			t.Fatal(err)
		}
		b.aged()
		b.reads.Set(f)
		if found, err := b.w.Sweep(t.Context(), b.log, true); err == nil || len(found) != 0 {
			t.Errorf("found %+v, %v", found, err)
		}
		if keys := b.objects(); len(keys) != 2 || !strings.HasPrefix(keys[0], "p/") {
			t.Errorf("left: %v", keys)
		}
	})
}
