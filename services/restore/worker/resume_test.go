package worker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/restore"
	"github.com/holdfast-dev/holdfast/services/restore/worker"
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

// warning is a part that has something to say whatever is done with it.
type warning struct{ project.Part }

func (p warning) Kept(t project.Target) project.Kept { return warningKept{p.Part.Kept(t), t} }

type warningKept struct {
	project.Kept
	t project.Target
}

func (k warningKept) Undo(ctx context.Context) error {
	k.t.Warn(archive.Warning{Part: "functions", Code: "said", Sentence: "Something to say."})
	return k.Kept.Undo(ctx)
}

func (k warningKept) Drop(ctx context.Context) error {
	k.t.Warn(archive.Warning{Part: "functions", Code: "said", Sentence: "Something to say."})
	return k.Kept.Drop(ctx)
}

// TestWarningsOfAnUndo are logged, since the events of an undo carry none.
func TestWarningsOfAnUndo(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	b := newBench(t, func(c *worker.Config) {
		parts := c.Projects[0].Resolve(t.Context()).Parts
		parts[0] = warning{parts[0]}
		c.Logger, c.KeepOld = zap.New(core), 0
	})
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	last, err := b.log.Last(t.Context(), b.a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.log.Append(t.Context(), b.a, last.Revision, events.RestoreUndoRequested{}, events.Cause{}); err != nil {
		t.Fatal(err)
	}
	// Without the location the parts are those of the bench.
	if err := os.Remove(filepath.Join(filepath.Dir(b.w.WarningsFile(b.a.ID)), b.a.ID+".project.json")); err != nil {
		t.Fatal(err)
	}
	if err := b.w.Undo(t.Context(), &restore.Undo{ID: b.a.ID, Project: "p", Pool: "default"}, events.Cause{}); err != nil {
		t.Fatal(err)
	}
	if err := b.w.Drop(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if s := b.state(); !s.Undone || !s.Dropped {
		t.Errorf("state %+v", s)
	}
	if n := logs.FilterField(zap.String("sentence", "Something to say.")).Len(); n != 2 {
		t.Errorf("said %d times: %v", n, logs.All())
	}
}
