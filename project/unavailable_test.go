package project_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/project"
)

// TestAPartThatIsAway fails each backup, except that of a damaged project.
func TestAPartThatIsAway(t *testing.T) {
	u := &project.UnavailablePart{Part: project.Functions, Sentence: "The disk is away."}
	p := project.Project{Parts: []project.Part{u}}
	if _, _, err := dump(t, p); err == nil || project.Sentence(err) != u.Sentence {
		t.Errorf("got %v", err)
	}
	wantSentence(t, project.Available(p.Parts), "The disk is away")
	w, err := archive.NewWriter(io.Discard, archive.Header{ID: "b", Project: "p", Type: "full", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	ws, err := u.Dump(t.Context(), &project.Session{Wrecked: true}, w)
	if err != nil || len(ws) != 1 || ws[0].Code != "part_missing" {
		t.Errorf("of a damaged project: %+v, %v", ws, err)
	}
	checks, err := u.Restoration(project.Target{}).Check(t.Context())
	if err != nil || len(problems(checks)) != 1 {
		t.Errorf("checks %+v, %v", checks, err)
	}
}

// TestALostFolderIsMadeAndTakenAway when the restore is given up.
func TestALostFolderIsMadeAndTakenAway(t *testing.T) {
	root := filepath.Join(t.TempDir(), "volumes/functions")
	write(t, root, "main/index.ts")
	place := &project.FunctionsPart{Path: root}
	b, _, err := dump(t, project.Project{Parts: []project.Part{place}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	u := &project.UnavailablePart{Part: project.Functions, Sentence: "It is lost.", Place: place}
	to, _ := target(t, b, project.Functions, nil)
	r := u.Restoration(to)
	build(t, r, b, to)
	if err := r.Discard(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(root); !os.IsNotExist(err) {
		t.Errorf("an empty folder is left: %v", err)
	}
	build(t, r, b, to)
	if err := r.Swap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Discard(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "main/index.ts")); err != nil {
		t.Error(err)
	}
}
