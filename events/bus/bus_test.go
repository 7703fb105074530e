package bus_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/events/eventstest"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/testenv"
)

func embedded(t *testing.T) *bus.Bus {
	t.Helper()
	srv, err := bus.StartServer(bus.ServerConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	b, err := bus.Connect(t.Context(), srv, bus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func TestLogOnOneServer(t *testing.T) {
	eventstest.TestLog(t, func(t *testing.T) events.Log { return embedded(t).Log() })
}

// TestLogOnACluster runs every promise on R3, each on streams of its own.
func TestLogOnACluster(t *testing.T) {
	url, _ := testenv.NATSCluster(t)
	eventstest.TestLog(t, func(t *testing.T) events.Log {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		b, err := bus.Connect(ctx, nil, bus.Config{URL: url, Replicas: 3})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			bus.DeleteStreams(t, b)
			b.Close()
		})
		return b.Log()
	})
}

var backupA = events.BackupAggregate("p", "backup-a")

func TestFollowYieldsEverythingInOrder(t *testing.T) {
	log := embedded(t).Log()
	var last events.Revision
	for i := range 100 {
		env, err := log.Append(t.Context(), backupA, last, events.BackupStarted{Attempt: i}, events.Cause{})
		if err != nil {
			t.Fatal(err)
		}
		last = env.Revision
	}
	state, err := log.State(t.Context())
	if err != nil || state.Last != last || state.Identity == "" {
		t.Fatalf("state %+v, %v; want last %d", state, err, last)
	}
	done := errors.New("done")
	next := events.Revision(41)
	err = log.Follow(t.Context(), 40, func(envs []events.Envelope) error {
		for _, e := range envs {
			if e.Revision != next {
				t.Errorf("got revision %d, want %d", e.Revision, next)
			}
			next++
		}
		if next > last {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) {
		t.Fatal(err)
	}
}

// run starts a router and stops it with the test, or before.
func run(t *testing.T, r *bus.Router) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("router: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func request(t *testing.T, b *bus.Bus, a events.Aggregate) {
	t.Helper()
	if _, err := b.Log().Append(t.Context(), a, 0, events.BackupRequested{Type: "full"}, events.Cause{CorrelationID: "c1"}); err != nil {
		t.Fatal(err)
	}
}

var requests = bus.EventSubscription{Name: "w", Kind: events.KindBackup, Event: "requested", Slots: 1, AckWait: time.Second}

func TestLongHandlerRunsOnce(t *testing.T) {
	b := embedded(t)
	var starts atomic.Int32
	done := make(chan events.Envelope, 10)
	r, err := b.NewRouter(nil)
	if err != nil {
		t.Fatal(err)
	}
	r.HandleEvents(requests, events.HandlerFunc(func(ctx context.Context, e events.Envelope) error {
		starts.Add(1)
		select {
		case <-time.After(3500 * time.Millisecond): // three and a half times AckWait
		case <-ctx.Done():
			t.Error("context ended under a long handler")
		}
		done <- e
		return nil
	}))
	run(t, r)
	request(t, b, backupA)
	e := <-done
	if e.Aggregate != backupA || e.CorrelationID != "c1" || e.Event != (events.BackupRequested{Type: "full"}) {
		t.Errorf("got %+v", e)
	}
	select {
	case <-done:
		t.Error("the handler ran twice")
	case <-time.After(1500 * time.Millisecond):
	}
	if n := starts.Load(); n != 1 {
		t.Errorf("%d starts, want 1", n)
	}
}

func TestHandlerSteersItsDelivery(t *testing.T) {
	b := embedded(t)
	calls := make(chan time.Time, 10)
	var fenced atomic.Bool
	r, err := b.NewRouter(nil)
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int32
	r.HandleEvents(requests, events.HandlerFunc(func(context.Context, events.Envelope) error {
		calls <- time.Now()
		switch n.Add(1) {
		case 1:
			return events.RetryAfter(errors.New("busy"), 200*time.Millisecond)
		case 2:
			fenced.Store(true)
			return events.ErrFenced // neither ack nor nak: comes again after AckWait
		}
		return nil
	}))
	run(t, r)
	request(t, b, backupA)
	one, two, three := <-calls, <-calls, <-calls
	if d := two.Sub(one); d < 150*time.Millisecond || d > 900*time.Millisecond {
		t.Errorf("retry after %s, want about 200ms", d)
	}
	if d := three.Sub(two); d < 500*time.Millisecond {
		t.Errorf("fenced delivery came again after %s, want AckWait", d)
	}
}

func TestShutdownHandsTheWorkOn(t *testing.T) {
	b := embedded(t)
	started := make(chan struct{}, 2)
	handler := events.HandlerFunc(func(ctx context.Context, _ events.Envelope) error {
		started <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	r, err := b.NewRouter(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := requests
	s.AckWait = time.Minute // the next one must not have to wait for it
	r.HandleEvents(s, handler)
	stop := run(t, r)
	request(t, b, backupA)
	<-started
	stop()
	r2, err := b.NewRouter(nil)
	if err != nil {
		t.Fatal(err)
	}
	r2.HandleEvents(s, handler)
	run(t, r2)
	select {
	case <-started:
	case <-time.After(10 * time.Second):
		t.Fatal("nobody took over")
	}
}

type poke struct {
	ID   string `json:"id"`
	Mode string `json:"mode"`
}

func (p poke) CommandRoute() events.Route {
	return events.Route{Service: "backup", Pool: "default", Verb: "poke", About: events.BackupAggregate("p", p.ID)}
}

func TestCommands(t *testing.T) {
	b := embedded(t)
	handled := make(chan poke, 10)
	rejected := make(chan error, 10)
	r, err := b.NewRouter(func(_ context.Context, about events.Aggregate, c events.Cause, err error) error {
		if about.ID != "backup-bad" || c.Actor != "key:k" {
			t.Errorf("rejected %v of %+v", about, c)
		}
		rejected <- err
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = bus.HandleCommand(r, "backup", "default", "poke", func(_ context.Context, c *poke, cause events.Cause) error {
		handled <- *c
		switch c.Mode {
		case "invalid":
			return fault.Errorf(fault.Invalid, "no such mood")
		case "panic":
			panic("bad day")
		}
		if cause.CorrelationID != "corr" {
			t.Errorf("cause %+v", cause)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, r)
	cmds, err := b.Commands()
	if err != nil {
		t.Fatal(err)
	}
	cause := events.Cause{CorrelationID: "corr", Actor: "key:k"}
	if err := cmds.Send(t.Context(), poke{ID: "backup-a"}, cause); err != nil {
		t.Fatal(err)
	}
	if got := <-handled; got.ID != "backup-a" {
		t.Errorf("got %+v", got)
	}
	if err := cmds.Send(t.Context(), poke{ID: "backup-bad", Mode: "invalid"}, cause); err != nil {
		t.Fatal(err)
	}
	if err := <-rejected; fault.CodeOf(err) != fault.Invalid {
		t.Errorf("rejected with %v", err)
	}
	testenv.Eventually(t, 5*time.Second, func() error {
		if n := bus.DeadLetters(b); n != 1 {
			return errors.New("the poisoned command is not among the dead letters")
		}
		return nil
	})
	if len(handled) != 1 {
		t.Errorf("the poisoned command was handled %d times, want once", len(handled))
	}
	if err := cmds.Send(t.Context(), poke{ID: "a.b"}, cause); err == nil {
		t.Error("a command about nothing was sent")
	}
}

type question struct{ N int }

func TestQueries(t *testing.T) {
	b := embedded(t)
	q, err := b.NewQueries("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close() })
	if err := bus.Answer(q, "test.twice", func(_ context.Context, q question) (question, error) {
		if q.N < 0 {
			return q, fault.Errorf(fault.NotFound, "nothing below zero")
		}
		return question{2 * q.N}, nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := bus.Answer(q, "test.raw", func(_ context.Context, q question) ([]byte, error) { return make([]byte, q.N), nil }); err != nil {
		t.Fatal(err)
	}
	var a question
	if err := b.Ask(t.Context(), "test.twice", question{21}, &a); err != nil || a.N != 42 {
		t.Errorf("got %+v, %v", a, err)
	}
	if err := b.Ask(t.Context(), "test.twice", question{-1}, &a); fault.CodeOf(err) != fault.NotFound || fault.MessageOf(err) != "nothing below zero" {
		t.Errorf("got %v", err)
	}
	var raw []byte
	if err := b.Ask(t.Context(), "test.raw", question{512 << 10}, &raw); err != nil || len(raw) != 512<<10 {
		t.Errorf("got %d bytes, %v", len(raw), err)
	}
	if err := b.Ask(t.Context(), "test.nobody", question{}, &a); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("got %v", err)
	}
}

func TestTailAndProgress(t *testing.T) {
	b := embedded(t)
	tail := b.NewTail()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- tail.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	changed, stop := tail.Watch(backupA)
	defer stop()
	var last events.Revision
	testenv.Eventually(t, 5*time.Second, func() error { // the tail may start after the first events
		env, err := b.Log().Append(t.Context(), backupA, last, events.BackupHeld{}, events.Cause{})
		if err != nil {
			return err
		}
		last = env.Revision
		select {
		case <-changed:
			return nil
		case <-time.After(100 * time.Millisecond):
			return errors.New("not woken")
		}
	})
	if _, ok := b.Progress(t.Context(), backupA); ok {
		t.Error("progress out of nothing")
	}
	want := events.Progress{Phase: "database", Bytes: 5}
	b.Report(backupA, events.Progress{Phase: "storage"})
	b.Report(backupA, want)
	testenv.Eventually(t, 5*time.Second, func() error {
		if got, ok := b.Progress(t.Context(), backupA); !ok || got != want {
			return errors.New("not the newest progress")
		}
		return nil
	})
}

func TestServerRestartKeepsTheLog(t *testing.T) {
	srv, err := bus.StartServer(bus.ServerConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	b, err := bus.Connect(t.Context(), srv, bus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	request(t, b, backupA)
	if err := srv.Restart(); err != nil {
		t.Fatal(err)
	}
	env, err := b.Log().Append(t.Context(), backupA, 1, events.BackupHeld{}, events.Cause{})
	if err != nil || env.Revision != 2 {
		t.Fatalf("after restart: %+v, %v", env, err)
	}
}

// TestFollowLeavesNoGoroutines follows a log that grows event by event.
func TestFollowLeavesNoGoroutines(t *testing.T) {
	b := embedded(t)
	const n = 200
	taken, done := make(chan events.Revision), errors.New("done")
	go func() {
		defer close(taken)
		if err := b.Log().Follow(t.Context(), 0, func(envs []events.Envelope) error {
			for _, e := range envs {
				taken <- e.Revision
				if e.Revision == n {
					return done
				}
			}
			return nil
		}); !errors.Is(err, done) {
			t.Error(err)
		}
	}()
	hold(t, b, 1)
	<-taken
	before := runtime.NumGoroutine()
	for range n - 2 {
		hold(t, b, 1)
		<-taken
	}
	if after := runtime.NumGoroutine(); after > before+10 {
		t.Errorf("%d goroutines after %d batches, %d before", after, n, before)
	}
	hold(t, b, 1)
	for range taken {
	}
}
