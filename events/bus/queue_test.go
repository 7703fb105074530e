package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/testenv"
)

// started notes in which order handlers have begun, and holds them until it is told.
type started struct {
	mu     sync.Mutex
	ids    []string
	signal chan string
	hold   chan struct{}
}

func newStarted() *started {
	return &started{signal: make(chan string, 10_000), hold: make(chan struct{})}
}

func (s *started) run(ctx context.Context, id string) error {
	s.mu.Lock()
	s.ids = append(s.ids, id)
	s.mu.Unlock()
	s.signal <- id
	select {
	case <-s.hold:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *started) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ids)
}

// next waits until a handler begins, and says for what.
func (s *started) next(t *testing.T) string {
	t.Helper()
	select {
	case id := <-s.signal:
		return id
	case <-time.After(time.Minute):
		t.Fatalf("nothing begins after %v", s.all())
		return ""
	}
}

// release lets one handler end.
func (s *started) release(t *testing.T) {
	t.Helper()
	select {
	case s.hold <- struct{}{}:
	case <-time.After(time.Minute):
		t.Fatal("no handler is running")
	}
}

// source makes jobs of all requested backups.
func source(queue string) bus.JobSource {
	return bus.JobSource{Name: "backup-default", Kind: events.KindBackup, Event: "requested", Pool: "default", Queue: queue, Route: func(context.Context, events.Envelope) (string, error) { return queue, nil }}
}

// jobs starts a process that has some slots for jobs.
func jobs(t *testing.T, b *bus.Bus, slots int, h func(ctx context.Context, id string) error) (stop func()) {
	t.Helper()
	r, err := b.NewRouter(nil)
	if err != nil {
		t.Fatal(err)
	}
	r.EnqueueJobs(source("backup"))
	r.HandleJobs(bus.JobQueue{Name: "backup", Pool: "default", Slots: slots, AckWait: 5 * time.Second}, events.HandlerFunc(func(ctx context.Context, e events.Envelope) error {
		return h(ctx, e.Aggregate.ID)
	}))
	return run(t, r)
}

// flood requests n backups of a project.
func flood(t *testing.T, b *bus.Bus, project string, n int) {
	t.Helper()
	for i := range n {
		request(t, b, events.BackupAggregate(project, fmt.Sprintf("%s-%03d", project, i)))
	}
}

// waiting waits until so many jobs of a project are in the queue.
func waiting(t *testing.T, b *bus.Bus, project string, n uint64) {
	t.Helper()
	testenv.Eventually(t, time.Minute, func() error {
		got, err := b.Backlog(t.Context(), "default", project)
		if err == nil && got != n {
			err = fmt.Errorf("%d jobs of %s wait, want %d", got, project, n)
		}
		return err
	})
}

// TestFairJobs lets one project flood the queue of two processes with two slots each:
// another one waits for one job of each slot at most, and every job is done once.
func TestFairJobs(t *testing.T) {
	const many = 200
	b := embedded(t)
	flood(t, b, "a", many)
	s := newStarted()
	jobs(t, b, 2, s.run)
	jobs(t, b, 2, s.run)
	for range 4 {
		s.next(t)
	}
	waiting(t, b, "a", many)
	flood(t, b, "b", 2)
	waiting(t, b, "b", 2)
	var begun []string
	for range 4 { // one job of each slot
		s.release(t)
		begun = append(begun, s.next(t))
	}
	if !slices.Contains(begun, "b-000") || !slices.Contains(begun, "b-001") {
		t.Errorf("b has waited for more than one job of each slot: %v", begun)
	}
	close(s.hold)
	waiting(t, b, "a", 0)
	waiting(t, b, "b", 0)
	ids := slices.DeleteFunc(s.all(), func(id string) bool { return id[0] == 'b' })
	slices.Sort(ids)
	if len(ids) != many || len(slices.Compact(ids)) != many {
		t.Errorf("%d jobs of a were begun, want each of %d once", len(ids), many)
	}
}

// TestFairCommands floods the queue of a command whose handler does one at a time.
func TestFairCommands(t *testing.T) {
	b := embedded(t)
	cmds, err := b.Commands()
	if err != nil {
		t.Fatal(err)
	}
	send := func(project string, n int) {
		for i := range n {
			if err := cmds.Send(t.Context(), prod{Project: project, ID: fmt.Sprintf("%s-%03d", project, i)}, events.Cause{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	send("a", 100)
	s := newStarted()
	r, err := b.NewRouter(nil)
	if err != nil {
		t.Fatal(err)
	}
	err = bus.HandleCommand(r, "backup", "default", "prod", func(ctx context.Context, c *prod, _ events.Cause) error { return s.run(ctx, c.ID) }, bus.OneAtATime())
	if err != nil {
		t.Fatal(err)
	}
	run(t, r)
	begun := []string{s.next(t)}
	send("b", 2)
	send("c", 1)
	for range 5 {
		s.release(t)
		begun = append(begun, s.next(t))
	}
	if want := []string{"a-000", "b-000", "c-000", "a-001", "b-001", "a-002"}; !slices.Equal(begun, want) {
		t.Errorf("begun %v, want %v", begun, want)
	}
	close(s.hold)
	waiting(t, b, "a", 0)
	for i, id := range slices.DeleteFunc(s.all(), func(id string) bool { return id[0] != 'a' }) {
		if want := fmt.Sprintf("a-%03d", i); id != want {
			t.Fatalf("command %d is %s, want %s", i, id, want)
		}
	}
}

type prod struct {
	Project string `json:"project"`
	ID      string `json:"id"`
}

func (p prod) CommandRoute() events.Route {
	return events.Route{Service: "backup", Pool: "default", Verb: "prod", About: events.BackupAggregate(p.Project, p.ID)}
}

// TestAJobThatWaitsComesWhenItIsDue although another slot is free, which waits for jobs.
func TestAJobThatWaitsComesWhenItIsDue(t *testing.T) {
	b := embedded(t)
	flood(t, b, "a", 1)
	var tries atomic.Int64
	jobs(t, b, 2, func(context.Context, string) error {
		tries.Add(1)
		return events.RetryAfter(errors.New("a restore works on the project"), 100*time.Millisecond)
	})
	testenv.Eventually(t, time.Minute, func() error {
		if n := tries.Load(); n < 30 {
			return fmt.Errorf("%d tries", n)
		}
		return nil
	})
}

// TestJobsThatWait lets the jobs of a project wait for their turn again and again, as
// behind a restore: they take no slot meanwhile, and keep their order.
func TestJobsThatWait(t *testing.T) {
	b := embedded(t)
	flood(t, b, "a", 20)
	var mu sync.Mutex
	var tried []string
	free := make(chan struct{})
	s := newStarted()
	close(s.hold)
	jobs(t, b, 1, func(ctx context.Context, id string) error {
		select {
		case <-free:
		default:
			if id[0] == 'a' {
				mu.Lock()
				defer mu.Unlock()
				tried = append(tried, id)
				return events.RetryAfter(errors.New("a restore works on the project"), 100*time.Millisecond)
			}
		}
		return s.run(ctx, id)
	})
	tries := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(tried)
	}
	testenv.Eventually(t, time.Minute, func() error {
		if tries() < 8 {
			return errors.New("too few tries")
		}
		return nil
	})
	flood(t, b, "b", 1)
	if got := s.next(t); got != "b-000" {
		t.Errorf("%s began", got)
	}
	close(free)
	waiting(t, b, "a", 0)
	for _, id := range tried {
		if id != "a-000" {
			t.Errorf("%s was tried before the first job of its project", id)
		}
	}
	for i, id := range s.all()[1:] {
		if want := fmt.Sprintf("a-%03d", i); id != want {
			t.Fatalf("job %d is %s, want %s", i, id, want)
		}
	}
}

// TestLostJobs deletes the stream of the jobs: what the log expects is done.
func TestLostJobs(t *testing.T) {
	b := embedded(t)
	flood(t, b, "a", 3)
	s := newStarted()
	jobs(t, b, 1, s.run)
	s.next(t)
	waiting(t, b, "a", 3)
	if err := bus.JetStream(b).DeleteStream(t.Context(), "HOLDFAST_JOBS"); err != nil {
		t.Fatal(err)
	}
	close(s.hold)
	flood(t, b, "b", 1)
	testenv.Eventually(t, time.Minute, func() error {
		for _, id := range []string{"a-000", "a-001", "a-002", "b-000"} {
			if !slices.Contains(s.all(), id) {
				return fmt.Errorf("%s was not begun; begun are %v", id, s.all())
			}
		}
		return nil
	})
	waiting(t, b, "a", 0)
	testenv.Eventually(t, time.Minute, func() error { return b.Subscribed(t.Context()) })
}

// TestUndecodableJob puts an event that cannot be decoded, and a command, before good
// ones: they are set aside, and the others go on.
func TestUndecodableJob(t *testing.T) {
	b := embedded(t)
	bus.Publish(t, b, "holdfast.evt.a.backup.backup-bad.requested", "dev.holdfast.backup.requested.v1", "{")
	bus.Publish(t, b, "holdfast.cmd.backup.default.a.prod", "", "no JSON")
	flood(t, b, "a", 2)
	s := newStarted()
	close(s.hold)
	r, err := b.NewRouter(nil)
	if err != nil {
		t.Fatal(err)
	}
	r.EnqueueJobs(source("backup"))
	r.HandleJobs(bus.JobQueue{Name: "backup", Pool: "default", Slots: 1, AckWait: time.Minute}, events.HandlerFunc(func(ctx context.Context, e events.Envelope) error {
		return s.run(ctx, e.Aggregate.ID)
	}))
	if err := bus.HandleCommand(r, "backup", "default", "prod", func(ctx context.Context, c *prod, _ events.Cause) error { return s.run(ctx, c.ID) }); err != nil {
		t.Fatal(err)
	}
	run(t, r)
	cmds, err := b.Commands()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmds.Send(t.Context(), prod{Project: "a", ID: "a-good"}, events.Cause{}); err != nil {
		t.Fatal(err)
	}
	begun := []string{s.next(t), s.next(t), s.next(t)}
	slices.Sort(begun)
	if want := []string{"a-000", "a-001", "a-good"}; !slices.Equal(begun, want) {
		t.Errorf("begun %v, want %v", begun, want)
	}
	waiting(t, b, "a", 1) // the event that is set aside: a later version may know it
	if n := bus.DeadLetters(b); n != 1 {
		t.Errorf("%d dead letters, want the command", n)
	}
}
