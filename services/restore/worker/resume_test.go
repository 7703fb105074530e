package worker_test

import (
	"context"
	"errors"
	"testing"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// TestResume starts a worker again that died in a swap or an undo. It goes on before the
// request comes again.
func TestResume(t *testing.T) {
	b := newBench(t)
	env := b.died(restore.Ready)
	b.seen = nil
	b.w.Resume(t.Context())
	if s := b.state(); s.Completed == nil || s.Attempt != 2 {
		t.Fatalf("state %+v", s)
	}
	b.is("after the swap", "backed up")
	b.alone("old", "old")
	last, err := b.log.Last(t.Context(), b.a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.log.Append(t.Context(), b.a, last.Revision, events.RestoreUndoRequested{}, events.Cause{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		b.w.Resume(t.Context())
	}
	if s := b.state(); !s.Undone {
		t.Errorf("state %+v", s)
	}
	b.is("after the undo", "changed")
	if err := b.w.Handle(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	b.alone("undone", "undone")
}

// TestResumeLeavesOthersAlone has nothing to go on with before the swap, where the next
// attempt begins anew, and in a restore of another pool.
func TestResumeLeavesOthersAlone(t *testing.T) {
	b := stopping(t, "; test -e stopped.before || { touch stopped.before; sleep 60; }")
	ctx, kill := context.WithCancel(t.Context())
	b.whenStopped(kill)
	env := b.request()
	if err := b.w.Handle(ctx, env); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	b.w.Resume(t.Context())
	if s := b.state(); s.Terminal() || s.Attempt != 1 {
		t.Errorf("state %+v", s)
	}
	if err := b.w.Handle(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	b.is("in the end", "backed up")
}
