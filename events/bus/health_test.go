package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/testenv"
)

// TestReadiness of a log that nobody writes to: whether it takes writes and can be read is
// found out, not guessed.
func TestReadiness(t *testing.T) {
	b, stop := serve(t, t.TempDir())
	defer stop()
	all := func() error {
		return errors.Join(b.Connected(t.Context()), b.Readable(t.Context()), b.Writable(t.Context()), b.Subscribed(t.Context()))
	}
	if err := all(); err != nil {
		t.Errorf("a new log: %v", err)
	}
	hold(t, b, 1)
	if err := all(); err != nil {
		t.Errorf("a log of one event: %v", err)
	}
	if err := bus.JetStream(b).DeleteStream(t.Context(), "HOLDFAST_COMMANDS"); err != nil {
		t.Fatal(err)
	}
	bus.ForgetWrites(b)
	testenv.Eventually(t, time.Minute, func() error {
		if err := b.Writable(t.Context()); err == nil || !strings.Contains(err.Error(), "stores nothing") {
			return fmt.Errorf("writable: %w", err)
		}
		return nil
	})
	if err := b.Readable(t.Context()); err != nil {
		t.Errorf("readable: %v", err)
	}
	bus.Provision(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go b.Watch(ctx)
	testenv.Eventually(t, time.Minute, all)
}
