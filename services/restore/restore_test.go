package restore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/services/restore"
)

var (
	now       = time.Date(2026, 11, 25, 4, 0, 0, 0, time.UTC)
	later     = now.Add(time.Hour)
	requested = events.RestoreRequested{Pool: "default", Backup: "backup-x", Parts: []string{"database"}, Safety: true, BodyHash: "h"}
	started   = events.RestoreStarted{Attempt: 1}
	completed = events.RestoreCompleted{Attempt: 1, KeptUntil: &later}
)

func state(es ...events.Event) (s restore.State) {
	for i, e := range es {
		s = s.Apply(events.Envelope{Revision: events.Revision(i + 1), Time: now, Event: e})
	}
	return s
}

func stage(name string) events.Event {
	return events.RestoreStageCompleted{Attempt: 1, Stage: name}
}

// check compares what was decided with an event, or an error that is or has a code.
func check(t *testing.T, what string, e events.Event, err error, want any) {
	t.Helper()
	switch want := want.(type) {
	case fault.Code:
		if fault.CodeOf(err) != want {
			t.Errorf("%s: %v, want %s", what, err, want)
		}
	case error:
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	case string:
		if err != nil || e.EventType() != want {
			t.Errorf("%s: %v %v, want %s", what, e, err, want)
		}
	}
}

func TestDecisions(t *testing.T) {
	c := restore.Create{ID: "restore-a", Project: "p", Pool: "default", Backup: "backup-x", Parts: []string{"database"}, Safety: true, BodyHash: "h"}
	accept := func(s restore.State) (events.Event, error) { return restore.Accept(s, c) }
	other := func(s restore.State) (events.Event, error) {
		c := c
		c.BodyHash = "other"
		return restore.Accept(s, c)
	}
	start := func(s restore.State) (events.Event, error) { return restore.Start(s, "w") }
	built := func(s restore.State) (events.Event, error) { return restore.Stage(s, 1, restore.Built) }
	complete := func(s restore.State) (events.Event, error) { return restore.Complete(s, completed) }
	fail := func(s restore.State) (events.Event, error) {
		return restore.Fail(s, events.RestoreFailed{Attempt: 1, Retryable: true})
	}
	undo := func(s restore.State) (events.Event, error) { return restore.RequestUndo(s) }
	drop := func(s restore.State) (events.Event, error) { return restore.Drop(s) }
	cancel := func(s restore.State) (events.Event, error) { return restore.RequestCancel(s, restore.Cancel{}) }
	ready := func(s restore.State) (events.Event, error) { return restore.Stage(s, 1, restore.Ready) }
	wanted := events.RestoreCancelRequested{}
	second := events.RestoreStarted{Attempt: 2}
	final := events.RestoreFailed{Attempt: 1, Final: true}
	for _, x := range []struct {
		what   string
		decide func(restore.State) (events.Event, error)
		s      restore.State
		want   any
	}{
		{"accept", accept, state(), "restore.requested.v1"},
		{"accept after a rejection", accept, state(events.RestoreRejected{Code: "conflict"}), "restore.requested.v1"},
		{"accept again", accept, state(requested), events.ErrNoChange},
		{"accept another body", other, state(requested), fault.IdempotencyMismatch},
		{"start", start, state(requested), "restore.started.v1"},
		{"start nothing", start, state(), events.ErrBehind},
		{"start after a crash", start, state(requested, started), "restore.started.v1"},
		{"start after the end", start, state(requested, started, completed), events.ErrNoChange},
		{"start after three crashes", start, state(requested, started, second, events.RestoreStarted{Attempt: 3}), "restore.failed.v1"},
		{"start once more to go forward", start, state(requested, started, second, events.RestoreStarted{Attempt: 3}, stage(restore.Ready)), "restore.started.v1"},
		{"stage", built, state(requested, started), "restore.stage_completed.v1"},
		{"stage twice", built, state(requested, started, stage(restore.Built)), events.ErrNoChange},
		{"stage of a fenced attempt", built, state(requested, started, second), events.ErrFenced},
		{"complete", complete, state(requested, started), "restore.completed.v1"},
		{"complete when fenced", complete, state(requested, started, second), events.ErrFenced},
		{"complete twice", complete, state(requested, started, completed), events.ErrNoChange},
		{"fail", fail, state(requested, started), "restore.failed.v1"},
		{"cancel", cancel, state(requested, started), "restore.cancel_requested.v1"},
		{"cancel twice", cancel, state(requested, started, wanted), events.ErrNoChange},
		{"cancel nothing", cancel, state(), fault.NotFound},
		{"cancel what has ended", cancel, state(requested, started, completed), fault.Conflict},
		{"cancel what swaps", cancel, state(requested, started, stage(restore.Ready)), fault.Conflict},
		{"start what was cancelled", start, state(requested, wanted), "restore.cancelled.v1"},
		{"swap what was cancelled", ready, state(requested, started, wanted), restore.ErrCancelled},
		{"end what was cancelled", restore.EndCancel, state(requested, started, wanted), "restore.cancelled.v1"},
		{"end it twice", restore.EndCancel, state(requested, started, wanted, events.RestoreCancelled{Attempt: 1}), events.ErrNoChange},
		{"end what nobody has cancelled", restore.EndCancel, state(requested, started), events.ErrNoChange},
		{"accept what was cancelled in the queue", accept, state(wanted), fault.Conflict},
		{"accept it again", accept, state(wanted, events.RestoreRejected{Code: "conflict"}), "restore.requested.v1"},
		{"undo what was cancelled", undo, state(requested, started, wanted, events.RestoreCancelled{Attempt: 1}), fault.Conflict},
		{"undo", undo, state(requested, started, completed), "restore.undo_requested.v1"},
		{"undo nothing", undo, state(), fault.NotFound},
		{"undo a failure", undo, state(requested, started, final), fault.Conflict},
		{"undo twice", undo, state(requested, started, completed, events.RestoreUndoRequested{}), events.ErrNoChange},
		{"undo what is undone", undo, state(requested, started, completed, events.RestoreUndoRequested{}, events.RestoreUndone{}), fault.Conflict},
		{"undo what is gone", undo, state(requested, started, completed, events.RestoreOldDropped{}), fault.Conflict},
		{"undo a dry run", undo, state(events.RestoreRequested{DryRun: true}, started, events.RestoreCompleted{Attempt: 1, Plan: &events.RestorePlan{}}), fault.Conflict},
		{"drop", drop, state(requested, started, completed), "restore.old_dropped.v1"},
		{"drop while undoing", drop, state(requested, started, completed, events.RestoreUndoRequested{}), events.ErrNoChange},
		{"drop twice", drop, state(requested, started, completed, events.RestoreOldDropped{}), events.ErrNoChange},
	} {
		e, err := x.decide(x.s)
		check(t, x.what, e, err, x.want)
	}
	e, err := fail(state(requested, started))
	if f := e.(events.RestoreFailed); err != nil || f.Final {
		t.Errorf("the first failure that may go away is final: %+v, %v", f, err)
	}
	third := events.RestoreFailed{Attempt: 3, Retryable: true}
	for _, x := range []struct {
		s     restore.State
		final bool
	}{{state(requested, events.RestoreStarted{Attempt: 3}), true}, {state(requested, events.RestoreStarted{Attempt: 3}, stage(restore.Ready)), false}} {
		if e, err := restore.Fail(x.s, third); err != nil || e.(events.RestoreFailed).Final != x.final {
			t.Errorf("the third failure, stages %v: %+v, %v", x.s.Stages, e, err)
		}
	}
	e, _ = restore.Start(state(requested, started, second, events.RestoreStarted{Attempt: 3}), "w")
	if f := e.(events.RestoreFailed); f.State != restore.Unchanged || !f.Final {
		t.Errorf("died three times: %+v", f)
	}
}

func TestIDs(t *testing.T) {
	id := restore.NewID()
	if !restore.ValidID(id) || restore.ValidID("restore-x") || restore.ValidID("backup-aaaaaaaaaaaaaaaaaaaaaaaaaa") || restore.NewID() == id {
		t.Errorf("id %s", id)
	}
	// They are for ever: a repeated request must find its restore.
	if got, want := restore.IDFor("k", "b", "i"), "restore-in7u2firtcuzgjn6nerm2rep6q"; got != want || restore.IDFor("k", "b", "j") == want {
		t.Errorf("id of a key: %s, want %s", got, want)
	}
	if got, want := restore.SafetyID("restore-a"), "backup-o7yej7axssbth6yqa54uapwswi"; got != want {
		t.Errorf("id of a safety backup: %s, want %s", got, want)
	}
}
