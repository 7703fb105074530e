package worker_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/backup/worker"
)

func (b *bench) cancel() {
	b.t.Helper()
	if err := b.w.Cancel(context.Background(), &backup.Cancel{ID: b.a.ID, Project: "p", Pool: "default"}, events.Cause{}); err != nil {
		b.t.Fatal(err)
	}
}

// cancelled checks that the backup has ended by a cancellation and left nothing.
func (b *bench) cancelled() {
	b.t.Helper()
	last, err := b.log.Last(b.t.Context(), b.a)
	if _, ok := last.Event.(events.BackupCancelled); !ok || len(b.objects()) != 0 || len(b.holders()) != 0 {
		b.t.Errorf("last %+v, %v; objects %v, holders %v", last.Event, err, b.objects(), b.holders())
	}
}

func TestCancelWhatWaits(t *testing.T) {
	b := newBench(t, fine)
	env := b.request()
	b.cancel()
	b.cancelled()
	if err := b.w.Handle(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	b.cancel()
	b.cancelled()
}

// TestCancelWhatRuns stops an attempt in the middle.
func TestCancelWhatRuns(t *testing.T) {
	var b *bench
	b = newBench(t, func(ctx context.Context, _ *archive.Writer) error {
		b.cancel()
		<-ctx.Done()
		return ctx.Err()
	})
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	b.cancelled()
}

// TestCancelWhatDied cancels a backup whose worker died: the next attempt ends it.
func TestCancelWhatDied(t *testing.T) {
	b := newBench(t, fine)
	env := b.request()
	b.append(events.BackupStarted{Attempt: 1, Worker: "dead", Token: "one"})
	b.put(1, backup.Mark("", "one"))
	b.cancel()
	if err := b.w.Handle(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	b.cancelled()
}

// TestCancelOfAnotherPool cancels a running backup whose pool has no worker.
func TestCancelOfAnotherPool(t *testing.T) {
	for alive, want := range map[bool]string{true: "backup.cancel_requested.v1", false: "backup.cancelled.v1"} {
		b := newBench(t, fine, func(c *worker.Config) {
			c.Alive = func(_ context.Context, pool string) bool { return alive && pool == "gone" }
		})
		if _, err := b.log.Append(t.Context(), b.a, 0, events.BackupRequested{Pool: "gone", Type: backup.Config, Destination: "local"}, events.Cause{}); err != nil {
			t.Fatal(err)
		}
		b.append(events.BackupStarted{Attempt: 1, Worker: "dead"})
		b.hold(events.Holder{Kind: events.KindBackup, ID: b.a.ID})
		b.cancel()
		if last, err := b.log.Last(t.Context(), b.a); err != nil || last.Event.EventType() != want {
			t.Errorf("alive %v: %+v, %v; want %s", alive, last.Event, err, want)
		}
		if n := len(b.holders()); alive != (n == 1) {
			t.Errorf("alive %v: %d holders", alive, n)
		}
	}
}

// hold puts a holder into the slot of the project.
func (b *bench) hold(h events.Holder) {
	b.t.Helper()
	last, _ := b.log.Last(b.t.Context(), events.SlotAggregate("p")) // there may be none
	if _, err := b.log.Append(b.t.Context(), events.SlotAggregate("p"), last.Revision, events.SlotAcquired{Holder: h, Holders: []events.Holder{h}}, events.Cause{}); err != nil {
		b.t.Fatal(err)
	}
}

// TestSlotOfWhatHasEnded is taken over; that of what runs is not.
func TestSlotOfWhatHasEnded(t *testing.T) {
	for _, ended := range []bool{false, true} {
		b := newBench(t, fine)
		env := b.request()
		h := events.Holder{Kind: events.KindRestore, ID: "restore-x", Exclusive: true}
		a := events.RestoreAggregate("p", h.ID)
		if _, err := b.log.Append(t.Context(), a, 0, events.RestoreRequested{}, events.Cause{}); err != nil {
			t.Fatal(err)
		}
		b.hold(h)
		if ended {
			last, _ := b.log.Last(t.Context(), a)
			if _, err := b.log.Append(t.Context(), a, last.Revision, events.RestoreFailed{Final: true}, events.Cause{}); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			_ = b.w.Handle(t.Context(), env) // the first one looks who holds the slot
		}
		if s := b.state(); (s.Completed != nil) != ended {
			t.Errorf("ended %v: state %+v", ended, s)
		}
	}
}

// TestCancelThatWaits finds a cancellation in the queue before the backup begins.
func TestCancelThatWaits(t *testing.T) {
	var b *bench
	var c *backup.Cancel
	b = newBench(t, fine, func(cfg *worker.Config) {
		cfg.Waiting = func(_ context.Context, service, verb, id string, cmd any) (sent time.Time, err error) {
			if into, ok := cmd.(*backup.Cancel); ok && c != nil && service == backup.Service && verb == backup.VerbCancel && id == b.a.ID {
				*into, sent = *c, time.Now()
			}
			return sent, nil
		}
	})
	env := b.request()
	c = &backup.Cancel{ID: b.a.ID, Project: "p", Pool: "default"}
	if err := b.w.Handle(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	b.cancelled()
	if s := b.state(); s.Attempt != 0 {
		t.Errorf("%d attempts were made", s.Attempt)
	}
	b.a.ID = backup.NewID() // one that nobody has taken
	c = &backup.Cancel{ID: b.a.ID, Project: "p", Pool: "default", Queued: true}
	b.request()
	if s := b.state(); s.Exists() || s.Rejected == nil || s.Rejected.Message != "The backup was cancelled before a worker took it" {
		t.Errorf("state %+v", s)
	}
	waited := *c
	if c = nil; b.w.Cancel(t.Context(), &waited, events.Cause{}) != nil || b.state().Cancel { // it is handled in its turn
		t.Errorf("state %+v", b.state())
	}
	if b.request(); !b.state().Exists() {
		t.Errorf("state %+v", b.state())
	}
}

// TestDiedAfterTheEnd lets the worker die between the end of a backup and the removal of
// what it has left. The request that comes again removes it.
func TestDiedAfterTheEnd(t *testing.T) {
	for name, end := range map[string]events.Event{
		"cancelled": events.BackupCancelled{Attempt: 2},
		"failed":    events.BackupFailed{Attempt: 2, Reason: events.ReasonCrashed, Final: true},
		"completed": events.BackupCompleted{Attempt: 2},
	} {
		b := newBench(t, fine)
		env := b.request()
		b.append(events.BackupStarted{Attempt: 1, Worker: "dead", Token: "one"})
		b.append(events.BackupStarted{Attempt: 2, Worker: "dead", Token: "two"})
		b.put(1, backup.Mark("", "one"))
		last := b.put(2, backup.Mark("", "two"))
		b.append(end)
		for range 2 {
			if err := b.w.Handle(t.Context(), env); err != nil {
				t.Fatal(err)
			}
		}
		want := 0
		if name == "completed" {
			b.kept(last)
			want = 1
		}
		if got := b.objects(); len(got) != want {
			t.Errorf("%s: objects %v", name, got)
		}
	}
}

// TestSafetyBackupOfWhatHasEnded is refused.
func TestSafetyBackupOfWhatHasEnded(t *testing.T) {
	b := newBench(t, fine)
	a := events.RestoreAggregate("p", "restore-x")
	for i, e := range []events.Event{events.RestoreRequested{}, events.RestoreCancelRequested{}, events.RestoreCancelled{}} {
		if _, err := b.log.Append(t.Context(), a, events.Revision(i), e, events.Cause{}); err != nil {
			t.Fatal(err)
		}
	}
	c := b.create()
	c.Under = a.ID
	if err := b.w.Create(t.Context(), &c, events.Cause{}); err != nil {
		t.Fatal(err)
	}
	if s := b.state(); s.Exists() || s.Rejected == nil || s.Rejected.Message != "The restore that wanted this safety backup has ended" {
		t.Errorf("state %+v", s)
	}
}

// watched is a log that calls f before each event of a backup is appended.
type watched struct {
	events.Log
	f func(events.Event)
}

func (l watched) Append(ctx context.Context, a events.Aggregate, expected events.Revision, e events.Event, c events.Cause) (events.Envelope, error) {
	l.f(e)
	return l.Log.Append(ctx, a, expected, e, c)
}

// TestCancelledMeansGone has a worker that died: what it has stored is removed before the
// backup ends, since the client is answered then.
func TestCancelledMeansGone(t *testing.T) {
	b := newBench(t, fine)
	env := b.request()
	b.append(events.BackupStarted{Attempt: 1, Worker: "dead", Token: "one"})
	b.put(1, backup.Mark("", "one"))
	b.append(events.BackupCancelRequested{})
	cfg := worker.Config{Pool: "default", Name: "w", Destinations: map[string]destination.Store{"local": b.store}, Logger: zap.NewNop()}
	ended := false
	b.w = worker.New(cfg, watched{b.log, func(e events.Event) {
		if _, ok := e.(events.BackupCancelled); ok {
			ended = true
			if left := b.objects(); len(left) > 0 {
				t.Errorf("%v is there at the end", left)
			}
		}
	}})
	if err := b.w.Handle(t.Context(), env); err != nil || !ended {
		t.Errorf("ended %v, %v", ended, err)
	}
}
