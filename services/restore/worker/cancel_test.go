package worker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/restore"
	"github.com/holdfast-dev/holdfast/services/restore/worker"
)

func (b *bench) cancel() {
	b.t.Helper()
	if err := b.w.Cancel(context.Background(), &restore.Cancel{ID: b.a.ID, Project: "p", Pool: "default"}, events.Cause{}); err != nil {
		b.t.Fatal(err)
	}
}

// cancelled checks that the restore has ended by a cancellation and left nothing.
func (b *bench) cancelled() {
	b.t.Helper()
	last, err := b.log.Last(b.t.Context(), b.a)
	if _, ok := last.Event.(events.RestoreCancelled); !ok {
		b.t.Errorf("last %+v, %v", last.Event, err)
	}
	b.is("in the end", "changed")
	b.alone()
	b.started()
}

// tidied checks that nothing lies beside the project.
func (b *bench) tidied() {
	b.t.Helper()
	for _, part := range []string{"functions", "config"} {
		if left, _ := filepath.Glob(filepath.Join(b.root, part, ".holdfast-*")); len(left) > 0 {
			b.t.Errorf("left behind: %v", left)
		}
	}
	b.started()
}

// started checks that the services were not left stopped.
func (b *bench) started() {
	b.t.Helper()
	if _, err := os.Stat(filepath.Join(b.services, "stopped")); b.services != "" && err == nil {
		b.t.Error("the services are stopped")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(b.w.WarningsFile(b.a.ID)), "*.project.json")); len(left) > 0 {
		b.t.Errorf("left behind: %v", left)
	}
}

// stopping lets a project have services, which a file says are stopped. more is appended
// to the command that stops them.
func stopping(t *testing.T, more string) *bench {
	t.Helper()
	dir := t.TempDir()
	b := newBench(t, func(c *worker.Config) {
		c.Projects[0].Hooks = worker.Hooks{Dir: dir, Before: "touch stopped" + more, After: "rm -f stopped", Timeout: time.Minute}
	})
	b.services = dir
	return b
}

// whenStopped calls f as soon as the services are being stopped.
func (b *bench) whenStopped(f func()) {
	go func() {
		for b.t.Context().Err() == nil {
			if _, err := os.Stat(filepath.Join(b.services, "stopped")); err == nil {
				f()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
}

func TestCancelWhatWaits(t *testing.T) {
	b := newBench(t)
	env := b.request()
	b.cancel()
	b.cancelled()
	if err := b.w.Handle(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	b.cancel()
	b.cancelled()
	if s := b.state(); s.Attempt != 0 {
		t.Errorf("%d attempts were made", s.Attempt)
	}
}

// TestCancelWhatRuns stops an attempt while it reads, after each stage that comes before
// the swap, and while the services are being stopped.
func TestCancelWhatRuns(t *testing.T) {
	after := func(stage string) func(b *bench) {
		return func(b *bench) {
			b.seen = func(e events.Event) {
				if x, ok := e.(events.RestoreStageCompleted); ok && x.Stage == stage {
					b.cancel()
				}
			}
		}
	}
	for name, c := range map[string]struct {
		before string
		begin  func(b *bench)
	}{
		"reading":          {"", func(b *bench) { b.fetch = func(ctx context.Context) { b.cancel(); <-ctx.Done() } }},
		"built":            {"", after(restore.Built)},
		"safe":             {"", after(restore.Safe)},
		"stopping":         {"; sleep 60", after(restore.Safe)},
		"services stopped": {"; sleep 60", func(b *bench) { b.whenStopped(b.cancel) }},
	} {
		t.Run(name, func(t *testing.T) {
			b := stopping(t, c.before)
			c.begin(b)
			if err := b.w.Handle(t.Context(), b.request()); err != nil {
				t.Fatal(err)
			}
			b.cancelled()
		})
	}
}

// TestCancelWhatSwaps comes too late.
func TestCancelWhatSwaps(t *testing.T) {
	b := newBench(t)
	b.seen = func(e events.Event) {
		if x, ok := e.(events.RestoreStageCompleted); ok && x.Stage == restore.Ready {
			b.cancel()
		}
	}
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	if s := b.state(); s.Completed == nil || s.Cancel {
		t.Errorf("state %+v", s)
	}
	b.is("in the end", "backed up")
}

// TestCancelWhatDied cancels a restore whose worker died before its swap: the next
// attempt ends it.
func TestCancelWhatDied(t *testing.T) {
	b := stopping(t, "")
	env := b.died(restore.Safe)
	b.seen = func(e events.Event) {
		if _, ok := e.(events.RestoreCancelled); ok { // the client is answered now
			b.tidied()
		}
	}
	b.cancel()
	if s := b.state(); s.Terminal() {
		t.Error("the worker may still build")
	}
	if err := b.w.Handle(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	b.cancelled()
}

// died stops the worker after a stage, as it is when it is killed.
func (b *bench) died(stage string) events.Envelope {
	b.t.Helper()
	env := b.request()
	ctx, cancel := context.WithCancel(b.t.Context())
	b.seen = func(e events.Event) {
		if x, ok := e.(events.RestoreStageCompleted); ok && x.Stage == stage {
			cancel()
		}
	}
	if err := b.w.Handle(ctx, env); !errors.Is(err, context.Canceled) {
		b.t.Fatalf("got %v", err)
	}
	return env
}

// TestCancelOfAnotherPool cancels a running restore whose pool has no worker. When it
// has one again, that one removes what is left.
func TestCancelOfAnotherPool(t *testing.T) {
	for alive, want := range map[bool]string{true: "restore.cancel_requested.v1", false: "restore.cancelled.v1"} {
		b := stopping(t, "")
		env := b.died(restore.Built)
		c := worker.Config{Pool: "other", Name: "other", Dir: t.TempDir(), Logger: zap.NewNop(), Alive: func(_ context.Context, pool string) bool { return alive && pool == "default" }}
		if err := worker.New(c, b.log).Cancel(t.Context(), &restore.Cancel{ID: b.a.ID, Project: "p", Pool: "other"}, events.Cause{}); err != nil {
			t.Fatal(err)
		}
		if last, err := b.log.Last(t.Context(), b.a); err != nil || last.Event.EventType() != want {
			t.Errorf("alive %v: %+v, %v; want %s", alive, last.Event, err, want)
		}
		if err := b.w.Handle(t.Context(), env); err != nil {
			t.Fatal(err)
		}
		b.cancelled()
	}
}

// TestCancelWhatIsQueued cancels a restore whose command no worker has taken. The same
// request again is another one.
func TestCancelWhatIsQueued(t *testing.T) {
	b := newBench(t)
	for _, queued := range []bool{false, true, true} {
		if err := b.w.Cancel(t.Context(), &restore.Cancel{ID: b.a.ID, Project: "p", Pool: "default", Queued: queued}, events.Cause{}); err != nil {
			t.Fatal(err)
		}
		if s := b.state(); s.Cancel != queued {
			t.Errorf("queued %v: state %+v", queued, s)
		}
	}
	b.request()
	if s := b.state(); s.Exists() || s.Rejected == nil || s.Rejected.Code != string(fault.Conflict) || !strings.Contains(s.Rejected.Message, "was cancelled before a worker took it") {
		t.Errorf("state %+v", s)
	}
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	if s := b.state(); s.Completed == nil {
		t.Errorf("state %+v", s)
	}
}

// TestCancelEndsTheSafetyBackup cancels while the safety backup runs.
func TestCancelEndsTheSafetyBackup(t *testing.T) {
	var sent []events.Command
	var b *bench
	b = newBench(t, func(c *worker.Config) {
		c.Send = func(_ context.Context, cmd events.Command, _ events.Cause) error {
			if sent = append(sent, cmd); len(sent) == 1 {
				b.cancel()
			}
			return nil
		}
	})
	if _, err := b.log.Append(t.Context(), events.ProjectAggregate("p"), 0, events.ProjectRegistered{Pool: "default", DefaultDestination: "local"}, events.Cause{}); err != nil {
		t.Fatal(err)
	}
	b.create.Safety = true
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	b.cancelled()
	if len(sent) != 2 {
		t.Fatalf("sent %+v", sent)
	}
	if c, ok := sent[1].(backup.Cancel); !ok || c.ID != restore.SafetyID(b.a.ID) {
		t.Errorf("sent %+v", sent)
	}
}

// TestDiedAfterTheEnd lets the worker die between the end of a restore and what follows
// it: whoever gets the request again removes what is left, and starts the services.
func TestDiedAfterTheEnd(t *testing.T) {
	for name, end := range map[string]events.Event{
		"failed":    events.RestoreFailed{Attempt: 1, Reason: events.ReasonStalled, State: restore.Unchanged, Final: true},
		"cancelled": events.RestoreCancelled{Attempt: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := stopping(t, "; sleep 60")
			ctx, kill := context.WithCancel(t.Context())
			b.whenStopped(kill)
			env := b.request()
			if err := b.w.Handle(ctx, env); !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v", err)
			}
			last, err := b.log.Last(t.Context(), b.a)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.log.Append(t.Context(), b.a, last.Revision, end, events.Cause{}); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := b.w.Handle(t.Context(), env); err != nil {
					t.Fatal(err)
				}
			}
			b.is("in the end", "changed")
			b.alone()
			b.started()
		})
	}
}

// TestCancelThatWaits finds a cancellation in the queue before an attempt begins.
func TestCancelThatWaits(t *testing.T) {
	var b *bench
	waits := false
	b = newBench(t, func(cfg *worker.Config) {
		cfg.Waiting = func(_ context.Context, service, verb, id string, cmd any) (sent time.Time, err error) {
			if into, ok := cmd.(*restore.Cancel); ok && waits && service == restore.Service && verb == restore.VerbCancel && id == b.a.ID {
				*into, sent = restore.Cancel{ID: b.a.ID, Project: "p", Pool: "default", Queued: true}, time.Now()
			}
			return sent, nil
		}
	})
	env := b.request()
	waits = true
	if err := b.w.Handle(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	b.cancelled()
	if s := b.state(); s.Attempt != 0 {
		t.Errorf("%d attempts were made", s.Attempt)
	}
	b.a.ID = restore.NewID() // one that nobody has taken
	b.create.ID = b.a.ID
	if b.request(); b.state().Exists() {
		t.Errorf("state %+v", b.state())
	}
}
