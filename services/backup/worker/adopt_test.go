package worker_test

import (
	"errors"
	"testing"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/backup/worker"
)

// TestAdoptedKeyIsRepeatable adopts a backup on an empty log: the request that made it
// is still the same, and another one is not.
func TestAdoptedKeyIsRepeatable(t *testing.T) {
	b := newBench(t, fine)
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	later := newBench(t, fine, func(c *worker.Config) { c.Destinations = map[string]destination.Store{"local": b.store} })
	later.a = b.a
	if all, err := later.w.Adopt(t.Context(), "local", nil); err != nil || len(all) != 1 || !all[0].Adopted {
		t.Fatalf("%+v, %v", all, err)
	}
	if err := backup.Repeat(later.state(), "h"); !errors.Is(err, events.ErrNoChange) {
		t.Errorf("the same request: %v", err)
	}
	if err := backup.Repeat(later.state(), "other"); err == nil || errors.Is(err, events.ErrNoChange) {
		t.Errorf("another request: %v", err)
	}
}
