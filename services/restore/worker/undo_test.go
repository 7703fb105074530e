package worker_test

import (
	"context"
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

// forgetLocation lets an undo use the parts of the bench.
func (b *bench) forgetLocation() {
	b.t.Helper()
	if err := os.Remove(filepath.Join(filepath.Dir(b.w.WarningsFile(b.a.ID)), b.a.ID+".project.json")); err != nil {
		b.t.Fatal(err)
	}
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
	b.forgetLocation()
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

// refusing is a part that refuses an undo.
type refusing struct{ project.Part }

func (p refusing) Kept(t project.Target) project.Kept { return refusingKept{p.Part.Kept(t)} }

type refusingKept struct{ project.Kept }

func (refusingKept) CheckUndo(context.Context) error {
	return &project.Error{Sentence: "Something has to end first.", Refused: true}
}

// TestRefusedUndo leaves all parts as they are.
func TestRefusedUndo(t *testing.T) {
	b := newBench(t, func(c *worker.Config) {
		parts := c.Projects[0].Resolve(t.Context()).Parts
		parts[0] = refusing{parts[0]}
	})
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	b.forgetLocation()
	if err := b.w.Undo(t.Context(), &restore.Undo{ID: b.a.ID, Project: "p", Pool: "default"}, events.Cause{}); err != nil {
		t.Fatal(err)
	}
	if s := b.state(); s.NotUndone == nil || s.NotUndone.Reason != events.ReasonRefused || s.NotUndone.Message != "Something has to end first" {
		t.Errorf("state %+v", s.NotUndone)
	}
	b.is("after the refusal", "backed up")
	b.alone("old", "old")
}

// TestUndoDiedWithTheSlot lets the worker die between the end of an undo and giving the
// slot back: the command that comes again gives it back.
func TestUndoDiedWithTheSlot(t *testing.T) {
	b := newBench(t)
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	undo := restore.Undo{ID: b.a.ID, Project: "p", Pool: "default"}
	if err := b.w.Undo(t.Context(), &undo, events.Cause{}); err != nil {
		t.Fatal(err)
	}
	h := events.Holder{Kind: events.KindRestore, ID: b.a.ID, Exclusive: true}
	last, err := b.log.Last(t.Context(), events.SlotAggregate("p"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.log.Append(t.Context(), events.SlotAggregate("p"), last.Revision, events.SlotAcquired{Holder: h, Holders: []events.Holder{h}}, events.Cause{}); err != nil {
		t.Fatal(err)
	}
	if err := b.w.Undo(t.Context(), &undo, events.Cause{}); err != nil {
		t.Fatal(err)
	}
	b.alone("undone", "undone")
}
