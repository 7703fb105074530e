package bus_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/testenv"
)

// TestAnEventOfALaterVersionIsKept for whoever knows it, and the events behind it are
// handled.
func TestAnEventOfALaterVersionIsKept(t *testing.T) {
	b, stop := serve(t, t.TempDir())
	t.Cleanup(stop)
	r, err := b.NewRouter(nil)
	if err != nil {
		t.Fatal(err)
	}
	handled := make(chan events.Envelope, 10)
	r.HandleEvents(requests, events.HandlerFunc(func(_ context.Context, e events.Envelope) error {
		handled <- e
		return nil
	}))
	bus.Publish(t, b, "holdfast.evt.p.backup.backup-later.requested", "backup.requested.v2", `{"pool":"default"}`)
	run(t, r)
	request(t, b, backupA)
	select {
	case e := <-handled:
		if e.Aggregate != backupA {
			t.Errorf("handled %+v", e)
		}
	case <-time.After(time.Minute):
		t.Fatal("the event behind it was not handled")
	}
	testenv.Eventually(t, time.Minute, func() error {
		c, err := bus.JetStream(b).Consumer(t.Context(), "HOLDFAST_EVENTS", requests.Name)
		if err != nil {
			return err
		}
		if i := c.CachedInfo(); i.NumAckPending != 1 || i.AckFloor.Stream != 0 || i.Delivered.Consumer < 2 {
			return fmt.Errorf("%d wait for an acknowledgement, floor %d, delivered %d", i.NumAckPending, i.AckFloor.Stream, i.Delivered.Consumer)
		}
		return nil
	})
	if n := bus.DeadLetters(b); n != 0 {
		t.Errorf("%d events were given up", n)
	}
}
