package worker_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/eventstest"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/restore"
	"github.com/holdfast-dev/holdfast/services/restore/worker"
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

// TestNeighboursAway lets the archive's worker be out of reach for a while, and the log
// lose an acknowledgement and fail: no attempt is spent on it.
func TestNeighboursAway(t *testing.T) {
	var b *bench
	away := 0
	b = newBench(t, func(c *worker.Config) {
		fetch := c.Fetch
		c.Patience = time.Minute
		c.Fetch = func(ctx context.Context, pool string, q backup.ArchiveRead) ([]byte, error) {
			if away++; away <= 3 {
				return nil, fault.Errorf(fault.Unavailable, "No worker of the pool default is running; start one, or try again")
			}
			return fetch(ctx, pool, q)
		}
	})
	b.seen = func(e events.Event) {
		if e, ok := e.(events.RestoreStageCompleted); ok && e.Stage == restore.Built {
			b.reads.LoseAcks(1)
			b.reads.SetFor(eventstest.TimesOut, 1)
		}
	}
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	if s := b.state(); s.Completed == nil || s.Attempt != 1 {
		t.Errorf("state %+v", s)
	}
	b.is("after the restore", "backed up")
}

// TestPatienceEnds lets the archive's worker be away for good.
func TestPatienceEnds(t *testing.T) {
	b := newBench(t, func(c *worker.Config) {
		c.Fetch = func(context.Context, string, backup.ArchiveRead) ([]byte, error) {
			return nil, fault.Errorf(fault.Unavailable, "No worker of the pool default is running; start one, or try again")
		}
	})
	env := b.request()
	for range restore.MaxAttempts {
		_ = b.w.Handle(t.Context(), env)
	}
	if s := b.state(); s.Failed == nil || s.Failed.State != restore.Unchanged || !strings.Contains(s.Failed.Message, "No worker of the pool default is running") {
		t.Errorf("failed %+v", s.Failed)
	}
}
