package dirlock_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-dev/holdfast/internal/dirlock"
)

func TestOneHolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	l, err := dirlock.Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = dirlock.Acquire(dir)
	if held, ok := errors.AsType[*dirlock.HeldError](err); !ok || held.PID != os.Getpid() || held.Dir != dir {
		t.Errorf("got %v, want the process %d", err, os.Getpid())
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if l, err = dirlock.Acquire(dir); err != nil {
		t.Fatal(err)
	}
	if err := l.Release(); err != nil {
		t.Error(err)
	}
}
