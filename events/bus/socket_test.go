package bus_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/bus"
)

// TestSocket writes to the log of a server by way of its socket, which others
// cannot open, and is gone with its context. A path may be longer than the system takes
// as an address.
func TestSocket(t *testing.T) {
	for _, name := range []string{"s", strings.Repeat("long/", 30) + "s"} {
		t.Run(name, func(t *testing.T) { testSocket(t, filepath.Join(t.TempDir(), name)) })
	}
}

func testSocket(t *testing.T, path string) {
	t.Helper()
	srv, err := bus.StartServer(bus.ServerConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil { // of a process that crashed
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- srv.ServeSocket(ctx, path) }()
	var b *bus.Bus
	for range 100 {
		if b, err = bus.Connect(t.Context(), nil, bus.Config{Socket: path, Name: "test"}); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
	if _, err := b.Log().Append(t.Context(), events.BackupAggregate("p", "backup-1"), 0, events.BackupHeld{}, events.Cause{}); err != nil {
		t.Fatal(err)
	}
	direct, err := bus.Connect(t.Context(), srv, bus.Config{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	if env, err := direct.Log().Last(t.Context(), events.BackupAggregate("p", "backup-1")); err != nil || env.Revision != 1 {
		t.Errorf("%+v, %v", env, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket is still there")
	}
}
