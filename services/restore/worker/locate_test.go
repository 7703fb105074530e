package worker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/restore"
	"github.com/holdfast-dev/holdfast/services/restore/worker"
)

// TestARestoreGoesOnWithoutTheFilesThatSayWhereThePartsAre stops a restore when the
// swap begins; afterwards the parts cannot be found any more, as when the compose
// files are on their way.
func TestARestoreGoesOnWithoutTheFilesThatSayWhereThePartsAre(t *testing.T) {
	lost := false
	var dir string
	b := newBench(t, func(c *worker.Config) {
		here := c.Projects[0].Resolve
		dir = c.Dir
		c.Projects[0].Resolve = func(ctx context.Context) project.Project {
			if !lost {
				return here(ctx)
			}
			return project.Project{Parts: []project.Part{
				&project.UnavailablePart{Part: project.Functions, Sentence: "No compose file."}, &project.UnavailablePart{Part: project.Config, Sentence: "No compose file."},
			}}
		}
	})
	env := b.request()
	ctx, cancel := context.WithCancel(t.Context())
	b.seen = func(e events.Event) {
		if x, ok := e.(events.RestoreStageCompleted); ok && x.Stage == restore.Ready {
			cancel()
		}
	}
	if err := b.w.Handle(ctx, env); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	lost = true
	if err := b.w.Handle(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	b.is("in the end", "backed up")
	if err := b.w.Undo(t.Context(), &restore.Undo{ID: b.a.ID, Project: "p", Pool: "default"}, events.Cause{}); err != nil {
		t.Fatal(err)
	}
	b.is("after the undo", "changed")
	fi, err := os.Stat(filepath.Join(dir, b.a.ID+".project.json"))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
}
