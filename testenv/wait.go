package testenv

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// FreePort returns a TCP port of the loopback that nobody listens on, and that no other
// call gets, of this process or of another one, while this process lives.
func FreePort(tb testing.TB) int {
	tb.Helper()
	port, err := freePort()
	if err != nil {
		tb.Fatal(err)
	}
	return port
}

func freePort() (int, error) {
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			return 0, err
		}
		if mine, err := claimPort(port); mine || err != nil {
			return port, err
		}
	}
}

// claimPort reports whether nobody else has claimed a port. The claim is a lock on a file,
// which ends with the process.
func claimPort(port int) (bool, error) {
	dir := filepath.Join(os.TempDir(), "holdfast-ports")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return false, err
	}
	f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o666)
	if errors.Is(err, fs.ErrPermission) { // of another user, who cannot be asked
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return false, f.Close()
	}
	claimed.Store(port, f) // so that it is not closed
	return true, nil
}

var claimed sync.Map // files by their ports

// Eventually calls f until it returns nil, and fails the test with its last
// error after the given time.
func Eventually(tb testing.TB, within time.Duration, f func() error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), within)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return
		}
		if !wait(ctx, 20*time.Millisecond) {
			tb.Fatalf("not within %s: %v", within, err)
		}
	}
}

// wait waits for d and reports whether ctx is still alive.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
