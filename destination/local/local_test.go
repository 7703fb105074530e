package local_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/destinationtest"
	"github.com/holdfast-dev/holdfast/destination/local"
)

func open(t *testing.T, c local.Config) *local.Store {
	t.Helper()
	s, err := local.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStore(t *testing.T) {
	destinationtest.TestStore(t, destinationtest.Options{}, func(t *testing.T) destination.Store {
		t.Helper()
		return open(t, local.Config{Path: t.TempDir()})
	})
}

func TestMinFreeIsKept(t *testing.T) {
	dir := t.TempDir()
	free, err := local.Free(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, local.Config{Path: dir, MinFree: free * 2})
	if _, err := s.Put(t.Context(), "p/a", bytes.NewReader([]byte("x")), 0); !errors.Is(err, destination.ErrNoSpace) {
		t.Errorf("got %v, want ErrNoSpace", err)
	}
}

// TestFullDiskLeavesNothing fills a small file system of its own.
func TestFullDiskLeavesNothing(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("not root: a file system of its own cannot be mounted; the full disk of the end-to-end tests stands in")
		return
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatalf("mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	s := open(t, local.Config{Path: dir})
	_, err := s.Put(t.Context(), "p/a", bytes.NewReader(make([]byte, 8<<20)), 0)
	if !errors.Is(err, destination.ErrNoSpace) {
		t.Errorf("got %v, want ErrNoSpace", err)
	}
	for info, err := range s.List(t.Context(), "") {
		t.Errorf("left behind: %+v, %v", info, err)
	}
	if _, err := s.Put(t.Context(), "p/b", bytes.NewReader(make([]byte, 2<<20)), 0); err != nil {
		t.Errorf("the space did not come back: %v", err)
	}
}

func TestCrashedWritersAreSweptRunningOnesAreNot(t *testing.T) {
	dir := t.TempDir()
	s := open(t, local.Config{Path: dir})
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := s.Put(t.Context(), "p/a", r, 0)
		ended <- err
	}()
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, "p", ".holdfast-crashed")
	if err := os.WriteFile(left, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, local.Config{Path: dir})
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a crash left is still there: %v", err)
	}
	_ = w.Close()
	if err := <-ended; err != nil {
		t.Errorf("a running Put was swept away: %v", err)
	}
}

// TestLinksOutOfTheFolderAreNotFollowed, neither to read, to write nor to list.
func TestLinksOutOfTheFolderAreNotFollowed(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"folder": outside, "file": filepath.Join(outside, "secret")} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, local.Config{Path: dir})
	for _, key := range []string{"folder/secret", "file"} {
		if r, err := s.Open(t.Context(), key, 0, -1); err == nil {
			_ = r.Close()
			t.Errorf("%s was read", key)
		}
		if _, err := s.Stat(t.Context(), key); err == nil {
			t.Errorf("%s was found", key)
		}
	}
	if _, err := s.Put(t.Context(), "folder/new", bytes.NewReader([]byte("x")), 0); err == nil {
		t.Error("an object was written through a link")
	}
	if err := s.Delete(t.Context(), "folder/secret"); err == nil {
		t.Error("a deletion through a link was taken for done")
	}
	for info, err := range s.List(t.Context(), "") {
		t.Errorf("listed %+v, %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(outside, "secret")); err != nil {
		t.Error(err)
	}
}

// TestAFolderThatIsGone is said, and nothing is stored in the folder in its place.
func TestAFolderThatIsGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backups")
	s := open(t, local.Config{Path: path})
	put := func() error {
		_, err := s.Put(t.Context(), "p/a", strings.NewReader("x"), 1)
		return err
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if err := put(); !errors.Is(err, destination.ErrUnreachable) || !strings.Contains(err.Error(), "the folder "+path+" is gone") {
		t.Errorf("a folder that was removed: %v", err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := put(); !errors.Is(err, destination.ErrUnreachable) {
		t.Errorf("another folder: %v", err)
	}
	if left, err := os.ReadDir(path); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}
