package project_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-dev/holdfast/project"
)

// TestASavedProjectIsBoundAsBefore since a link may appear between a swap and its undo.
func TestASavedProjectIsBoundAsBefore(t *testing.T) {
	folder, out := t.TempDir(), t.TempDir()
	key := func(context.Context) project.Place {
		return project.Place{Path: filepath.Join(folder, "key"), Within: folder}
	}
	write(t, folder, "st/x", "fn/x", "conf/x", "key")
	p := project.Project{Server: server("postgres://u@127.0.0.1/d", ""), Parts: []project.Part{
		&project.DatabasePart{RootKey: key}, &project.StoragePart{Path: folder + "/st", Within: folder}, &project.FunctionsPart{Path: folder + "/fn", Within: folder}, &project.ConfigPart{Root: folder + "/conf", Within: folder},
	}}
	b, err := p.Save(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	saved, err := project.Load(b)
	if err != nil || len(saved.Parts) != 4 {
		t.Fatalf("%+v, %v", saved, err)
	}
	if got := saved.Parts[0].(*project.DatabasePart).RootKey(t.Context()); got != key(t.Context()) {
		t.Errorf("the key is at %+v", got)
	}
	for i, name := range []string{"key", "st", "fn", "conf"} {
		at := filepath.Join(folder, name)
		if err := errors.Join(os.RemoveAll(at), os.Symlink(out, at)); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if _, err := key(t.Context()).Read(); !errors.Is(err, project.ErrOutside) {
				t.Errorf("the key: %v", err)
			}
		} else if _, err := project.Measure(t.Context(), saved.Parts[i]); !errors.Is(err, project.ErrOutside) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
