package project_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

// TestTheRootKeyComesBack for the owner of the one in its place, and an undo brings that
// one back from data_dir, whatever lies beside the key.
func TestTheRootKeyComesBack(t *testing.T) {
	pg := testenv.NewPostgres(t, 17)
	srv := server(pg.URL("postgres"), pg.Bin)
	folder, out := t.TempDir(), t.TempDir()
	name := filepath.Join(folder, "keys/pgsodium_root.key")
	put(t, name, "first")
	put(t, filepath.Join(out, "shadow"), "s3kret")
	part := &project.DatabasePart{LockTimeout: time.Minute, RootKey: func(context.Context) project.Place { return project.Place{Path: name, Within: folder} }}
	b, _, err := dump(t, project.Project{Parts: []project.Part{part}, Server: srv})
	if err != nil {
		t.Fatal(err)
	}
	put(t, name, "second")
	if err := os.Chmod(name, 0o640); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(name, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	want := func(when, key string) {
		t.Helper()
		fi, err := os.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil || string(got) != key || fi.Mode() != 0o640 || os.Getuid() == 0 && fi.Sys().(*syscall.Stat_t).Uid != 65534 {
			t.Errorf("%s: %q, %v, %v", when, got, fi.Mode(), err)
		}
	}
	to, ws := target(t, b, project.Database, srv)
	build(t, part.Restoration(to), b, to)
	link := filepath.Join(folder, "keys/pgsodium_root.key.holdfast-new")
	if err := os.Symlink(filepath.Join(out, "shadow"), link); err != nil { // as somebody may who knows the name
		t.Fatal(err)
	}
	for range 2 {
		if err := part.Restoration(to).Swap(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want("after the restore", "first")
	if said := sentencesOf(*ws); !strings.Contains(said, "root key was replaced") {
		t.Errorf("said %s", said)
	}
	if got := sh(t, folder, "ls keys"); got != "pgsodium_root.key\n" {
		t.Errorf("beside the key: %s", got)
	}
	for range 2 {
		if err := part.Kept(to).Undo(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want("after the undo", "second")
	if err := part.Kept(to).Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("after the drop", "second")
	if left, err := filepath.Glob(to.Scratch + ".root_key*"); err != nil || len(left) > 0 {
		t.Errorf("left in data_dir: %v, %v", left, err)
	}
	if got, err := os.ReadFile(filepath.Join(out, "shadow")); err != nil || string(got) != "s3kret" {
		t.Errorf("the outside has %q, %v", got, err)
	}
}

// TestARootKeyThatIsALinkIsNeitherReadNorReplaced if the link leads out of its folder.
func TestARootKeyThatIsALinkIsNeitherReadNorReplaced(t *testing.T) {
	pg := testenv.NewPostgres(t, 17)
	srv := server(pg.URL("postgres"), pg.Bin)
	folder, out := t.TempDir(), t.TempDir()
	name, shadow := filepath.Join(folder, "pgsodium_root.key"), filepath.Join(out, "shadow")
	put(t, name, "first")
	put(t, shadow, "s3kret")
	part := &project.DatabasePart{LockTimeout: time.Minute, RootKey: func(context.Context) project.Place { return project.Place{Path: name, Within: folder} }}
	b, _, err := dump(t, project.Project{Parts: []project.Part{part}, Server: srv})
	if err != nil {
		t.Fatal(err)
	}
	sh(t, folder, "rm pgsodium_root.key; ln -s "+shadow+" pgsodium_root.key")
	if b, _, err := dump(t, project.Project{Parts: []project.Part{part}, Server: srv}); err != nil || holder(t, b, "s3kret") != "" {
		t.Errorf("the backup holds what the link leads to, or failed: %v", err)
	}
	to, _ := target(t, b, project.Database, srv)
	build(t, part.Restoration(to), b, to)
	if err := part.Restoration(to).Swap(t.Context()); err == nil || !strings.Contains(project.Sentence(err), "root key could not be put in its place") {
		t.Errorf("got %v", err)
	}
	if err := part.Kept(to).Undo(t.Context()); err != nil {
		t.Error(err)
	}
	if err := part.Kept(to).Drop(t.Context()); err != nil {
		t.Error(err)
	}
	if got := sh(t, out, "cat shadow; ls"); got != "s3kretshadow\n" {
		t.Errorf("the outside is %s", got)
	}
}
