package worker_test

import (
	"errors"
	"testing"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/eventstest"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// TestFaultyLog gives the worker a request, an undo and an end of the time that old
// data is kept while the log cannot be read: nothing is lost.
func TestFaultyLog(t *testing.T) {
	for _, f := range eventstest.Faults() {
		t.Run(f.String(), func(t *testing.T) {
			b := newBench(t)
			env := b.request()
			b.reads.Set(f)
			if err := b.w.Handle(t.Context(), env); err == nil || errors.Is(err, events.ErrFenced) {
				t.Errorf("got %v: the request is lost", err)
			}
			b.reads.Set(eventstest.None)
			if err := b.w.Handle(t.Context(), env); err != nil {
				t.Fatal(err)
			}
			last, err := b.log.Last(t.Context(), b.a)
			if _, ok := last.Event.(events.RestoreCompleted); !ok {
				t.Fatalf("got %+v, %v", last, err)
			}
			undo := &restore.Undo{ID: b.a.ID, Project: "p", Pool: "default", Known: last.Revision}
			b.reads.Set(f)
			if err := b.w.Drop(t.Context(), last); err == nil {
				t.Error("the old data is kept for ever")
			}
			if err := b.w.Undo(t.Context(), undo, events.Cause{}); err == nil {
				t.Error("the undo is lost")
			}
			b.reads.Set(eventstest.None)
			if err := b.w.Undo(t.Context(), undo, events.Cause{}); err != nil {
				t.Fatal(err)
			}
			if last, err := b.log.Last(t.Context(), b.a); last.Event != (events.RestoreUndone{}) {
				t.Errorf("got %+v, %v", last, err)
			}
			slot, err := b.log.Last(t.Context(), events.SlotAggregate("p"))
			if s, ok := slot.Event.(events.SlotReleased); !ok || len(s.Holders) != 0 {
				t.Errorf("slot %+v, %v", slot.Event, err)
			}
		})
	}
}

// TestUnreadableBackup asks for a restore while the log does not show its backup.
func TestUnreadableBackup(t *testing.T) {
	for _, f := range eventstest.Faults() {
		t.Run(f.String(), func(t *testing.T) {
			b := newBench(t)
			c := b.create
			c.BackupKnown = 3
			b.reads.Set(f)
			if err := b.w.Create(t.Context(), &c, events.Cause{}); !errors.Is(err, events.ErrUnavailable) {
				t.Errorf("got %v, want ErrUnavailable", err)
			}
			if last, err := b.log.Last(t.Context(), b.a); !errors.Is(err, events.ErrNoEvent) {
				t.Errorf("recorded %+v, %v", last, err)
			}
		})
	}
}
