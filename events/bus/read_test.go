package bus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/events/eventstest"
	"github.com/holdfast-dev/holdfast/testenv"
)

// proxied returns a bus that reaches its server by way of a proxy.
func proxied(t *testing.T) (*bus.Bus, *testenv.TCPProxy) {
	t.Helper()
	srv, err := bus.StartServer(bus.ServerConfig{Dir: t.TempDir(), Listen: "127.0.0.1:-1", User: "u", Pass: "p"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	p := testenv.ProxyTCP(t, srv.ClientURL()[len("nats://"):])
	b, err := bus.Connect(t.Context(), nil, bus.Config{URL: "nats://u:p@" + p.Addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b, p
}

// old creates a stream that has only the first event of each backup, as a replica
// that is behind.
func old(t *testing.T, b *bus.Bus) {
	t.Helper()
	s, err := bus.JetStream(b).CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "HOLDFAST_BEHIND", AllowDirect: true, Mirror: &jetstream.StreamSource{Name: "HOLDFAST_EVENTS", FilterSubject: "holdfast.evt.*.*.*.requested"},
	})
	if err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 30*time.Second, func() error {
		if i, err := s.Info(t.Context()); err != nil || i.State.Msgs == 0 {
			return errors.New("the mirror is empty")
		}
		return nil
	})
}

func TestFaultyServer(t *testing.T) {
	eventstest.TestFaults(t, func(t *testing.T) (events.Log, func(eventstest.Fault)) {
		t.Helper()
		b, p := proxied(t)
		return b.Log(), func(f eventstest.Fault) {
			switch f {
			case eventstest.TimesOut:
				p.Hold()
			case eventstest.Cut:
				p.CutAfter(6000) // the leader answers, the batch that follows breaks off
			case eventstest.Behind:
				old(t, b)
				p.Rewrite("DIRECT.GET.HOLDFAST_EVENTS", "DIRECT.GET.HOLDFAST_BEHIND")
			case eventstest.None:
				p.Pass()
			}
		}
	})
}

// TestReadEndsOnlyWhenTheServerSaysSo reads without any knowledge of how much there
// is to read.
func TestReadEndsOnlyWhenTheServerSaysSo(t *testing.T) {
	b, p := proxied(t)
	request(t, b, backupA)
	p.Hold()
	begin := time.Now()
	for env, err := range b.Log().Read(t.Context(), backupA, 0) {
		if !errors.Is(err, events.ErrUnavailable) {
			t.Errorf("got %+v, %v; want ErrUnavailable", env, err)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
		return
	}
	t.Error("a read that timed out says that the backup has no events")
}

// TestReplicaThatIsBehind reads more than one event that the replica does not have.
func TestReplicaThatIsBehind(t *testing.T) {
	b, p := proxied(t)
	request(t, b, backupA)
	old(t, b)
	last := events.Revision(1)
	for range 3 {
		env, err := b.Log().Append(t.Context(), backupA, last, events.BackupHeld{}, events.Cause{})
		if err != nil {
			t.Fatal(err)
		}
		last = env.Revision
	}
	p.Rewrite("DIRECT.GET.HOLDFAST_EVENTS", "DIRECT.GET.HOLDFAST_BEHIND")
	n := 0
	for _, err := range b.Log().Read(t.Context(), backupA, 0) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 4 {
		t.Errorf("read %d of 4 events", n)
	}
}

func TestHandlerLearnsTheRevision(t *testing.T) {
	b := embedded(t)
	got := make(chan events.Envelope, 1)
	r, err := b.NewRouter(nil)
	if err != nil {
		t.Fatal(err)
	}
	r.HandleEvents(requests, events.HandlerFunc(func(_ context.Context, e events.Envelope) error {
		got <- e
		return nil
	}))
	run(t, r)
	request(t, b, events.BackupAggregate("p", "backup-b"))
	<-got
	request(t, b, backupA)
	if e := <-got; e.Revision != 2 {
		t.Errorf("revision %d, want 2", e.Revision)
	}
}
