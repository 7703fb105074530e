package testenv

import (
	"context"
	"net"
	"testing"
	"time"
)

// FreePort returns a TCP port of the loopback that nobody listens on.
func FreePort(tb testing.TB) int {
	tb.Helper()
	port, err := freePort()
	if err != nil {
		tb.Fatal(err)
	}
	return port
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

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
