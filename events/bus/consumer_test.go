package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/testenv"
)

// handled notes what handlers were given.
type handled struct {
	mu  sync.Mutex
	all []string
}

func (h *handled) add(s string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, s)
}

func (h *handled) count(s string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range h.all {
		if x == s {
			n++
		}
	}
	return n
}

// TestDeletedConsumers deletes the consumers of events and commands under a router
// that waits: they are made again, nothing is lost and nothing comes twice.
func TestDeletedConsumers(t *testing.T) {
	srv, err := bus.StartServer(bus.ServerConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	core, logs := observer.New(zap.WarnLevel)
	b, err := bus.Connect(t.Context(), srv, bus.Config{Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	var got handled
	r, err := b.NewRouter(nil)
	if err != nil {
		t.Fatal(err)
	}
	r.HandleEvents(requests, events.HandlerFunc(func(_ context.Context, e events.Envelope) error {
		got.add(e.Aggregate.ID)
		return nil
	}))
	if err := bus.HandleCommand(r, "backup", "default", "poke", func(_ context.Context, c *poke, _ events.Cause) error {
		got.add(c.ID)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	run(t, r)
	cmds, err := b.Commands()
	if err != nil {
		t.Fatal(err)
	}
	both := func(n string) {
		t.Helper()
		request(t, b, events.BackupAggregate("p", "event-"+n))
		if err := cmds.Send(t.Context(), poke{ID: "command-" + n}, events.Cause{}); err != nil {
			t.Fatal(err)
		}
		testenv.Eventually(t, time.Minute, func() error {
			if got.count("event-"+n) == 0 || got.count("command-"+n) == 0 {
				return errors.New("not handled")
			}
			return nil
		})
	}
	both("1")
	both("2") // after which the router knows that the first is done
	js := bus.JetStream(b)
	c, err := js.Consumer(t.Context(), "HOLDFAST_EVENTS", requests.Name)
	if err != nil {
		t.Fatal(err)
	}
	commands, err := js.Stream(t.Context(), "HOLDFAST_COMMANDS")
	if err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, time.Minute, func() error {
		info, err := c.Info(t.Context())
		queue, qerr := commands.Info(t.Context())
		if err != nil || qerr != nil || info.AckFloor.Stream != 2 || queue.State.Msgs != 0 {
			return errors.New("not acknowledged")
		}
		return nil
	})
	for stream, name := range map[string]string{"HOLDFAST_EVENTS": requests.Name, "HOLDFAST_COMMANDS": "backup-default-poke=p"} {
		if err := js.DeleteConsumer(t.Context(), stream, name); err != nil {
			t.Fatal(err)
		}
	}
	both("3")
	both("4")
	for _, id := range []string{"event-1", "event-3", "event-4", "command-1", "command-2", "command-3", "command-4"} {
		if n := got.count(id); n != 1 {
			t.Errorf("%s was handled %d times", id, n)
		}
	}
	for _, name := range []string{requests.Name, "backup-default-poke=p"} {
		if !slices.ContainsFunc(logs.All(), func(e observer.LoggedEntry) bool { return strings.Contains(e.Message, "consumer "+name) }) {
			t.Errorf("nothing names the consumer %s: %v", name, logs.All())
		}
	}
	testenv.Eventually(t, time.Minute, func() error { return b.Subscribed(t.Context()) })
}

// TestServerAway hangs the server: what is asked is answered soon, and not with a
// success, and the log says so once.
func TestServerAway(t *testing.T) {
	b, p := proxied(t)
	cmds, err := b.Commands()
	if err != nil {
		t.Fatal(err)
	}
	p.Hold()
	begin := time.Now()
	if err := cmds.Send(t.Context(), poke{ID: "backup-a"}, events.Cause{}); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("send: %v", err)
	}
	var answer question
	if err := b.AskSoon(t.Context(), "test.nobody", question{}, &answer); err == nil {
		t.Error("an answer out of nothing")
	}
	testenv.Eventually(t, 15*time.Second, func() error { // pings find it out
		if err := b.Health(); err == nil || !strings.Contains(err.Error(), "is away") {
			return fmt.Errorf("the connection is thought to be good: %w", err)
		}
		return nil
	})
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	begin = time.Now()
	if err := b.AskSoon(t.Context(), "test.nobody", question{}, &answer); err == nil || time.Since(begin) > 2*time.Second {
		t.Errorf("without a connection: %v after %s", err, time.Since(begin))
	}
	p.Pass()
	testenv.Eventually(t, 30*time.Second, func() error {
		return cmds.Send(t.Context(), poke{ID: "backup-a"}, events.Cause{})
	})
}

// TestHungAnswerer lets one of two who answer hang: every question is answered.
func TestHungAnswerer(t *testing.T) {
	srv, err := bus.StartServer(bus.ServerConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	connect := func() *bus.Bus {
		b, err := bus.Connect(t.Context(), srv, bus.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		return b
	}
	for _, hangs := range []bool{false, true} {
		q, err := connect().NewQueries("test")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = q.Close() })
		if err := bus.Answer(q, "test.twice", func(ctx context.Context, q question) (question, error) {
			if hangs {
				<-ctx.Done()
			}
			return question{2 * q.N}, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for name, ask := range map[string]func(context.Context, string, any, any) error{"AskSoon": connect().AskSoon, "Ask": connect().Ask} {
		slow := 0
		for i := range 20 {
			var a question
			begin := time.Now()
			if err := ask(t.Context(), "test.twice", question{i}, &a); err != nil || a.N != 2*i {
				t.Errorf("%s, question %d: %+v, %v", name, i, a, err)
			}
			if time.Since(begin) > time.Second {
				slow++
			}
		}
		if slow > 1 {
			t.Errorf("%s: %d of 20 answers were slow", name, slow)
		}
	}
}

// TestRouterWaitsForItsStream starts a router before its streams are there, as on a
// cluster that has no leader yet.
func TestRouterWaitsForItsStream(t *testing.T) {
	b := embedded(t)
	bus.DeleteStreams(t, b)
	r, err := b.NewRouter(nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan events.Envelope, 1)
	r.HandleEvents(requests, events.HandlerFunc(func(_ context.Context, e events.Envelope) error {
		got <- e
		return nil
	}))
	run(t, r)
	testenv.Eventually(t, 30*time.Second, func() error {
		if err := b.Subscribed(t.Context()); err == nil {
			return errors.New("ready without streams")
		}
		return nil
	})
	bus.Provision(t, b)
	request(t, b, backupA)
	select {
	case <-got:
	case <-time.After(30 * time.Second):
		t.Error("the event was not handled")
	}
}

// TestQuietWhileAway lets handlers fail because the log is away: each line is written
// once a minute.
func TestQuietWhileAway(t *testing.T) {
	srv, err := bus.StartServer(bus.ServerConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	core, logs := observer.New(zap.WarnLevel)
	b, err := bus.Connect(t.Context(), srv, bus.Config{Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	r, err := b.NewRouter(nil)
	if err != nil {
		t.Fatal(err)
	}
	calls := make(chan struct{}, 100)
	r.HandleEvents(requests, events.HandlerFunc(func(context.Context, events.Envelope) error {
		calls <- struct{}{}
		return events.ErrBehind
	}))
	run(t, r)
	for n := range 5 {
		request(t, b, events.BackupAggregate("p", fmt.Sprint("backup-", n)))
		<-calls
	}
	if n := len(logs.FilterMessage("Handler returned error").All()); n > 1 {
		t.Errorf("the same line was logged %d times", n)
	}
}

// TestOneLineWhileAway stops the server below several consumers: not each of them says so.
func TestOneLineWhileAway(t *testing.T) {
	srv, err := bus.StartServer(bus.ServerConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	b, err := bus.Connect(t.Context(), srv, bus.Config{Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	r, err := b.NewRouter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"create", "delete", "verify", "cancel"} {
		if err := bus.HandleCommand(r, "backup", "default", verb, func(context.Context, *poke, events.Cause) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	r.HandleEvents(requests, events.HandlerFunc(func(context.Context, events.Envelope) error { return nil }))
	run(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go b.Watch(ctx)
	for _, verb := range []string{"create", "delete", "verify", "cancel"} { // so that each has a consumer
		bus.Publish(t, b, "holdfast.cmd.backup.default.p."+verb+".backup-a", "", "{}")
	}
	testenv.Eventually(t, time.Minute, func() error {
		for _, verb := range []string{"create", "delete", "verify", "cancel"} {
			if _, err := bus.JetStream(b).Consumer(t.Context(), "HOLDFAST_COMMANDS", "backup-default-"+verb+"=p"); err != nil {
				return err
			}
		}
		return nil
	})
	srv.Stop()
	testenv.Eventually(t, time.Minute, func() error {
		if logs.FilterMessage("waiting for the NATS server").Len() == 0 {
			return errors.New("nothing says what is waited for")
		}
		return nil
	})
	if all := logs.All(); len(all) > 4 {
		for _, e := range all {
			t.Errorf("%s %v", e.Message, e.ContextMap())
		}
	}
}
