package worker_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/eventstest"
	"github.com/holdfast-dev/holdfast/services/restore"
	"github.com/holdfast-dev/holdfast/services/restore/worker"
)

// restoredAt restores while the clock of the machine is wrong by a time, and returns a
// worker that finds it right, the log, and the event that lets it drop what was replaced.
func restoredAt(t *testing.T, b *bench, cfg *worker.Config, wrong time.Duration) (*worker.Worker, *eventstest.Log, events.Envelope) {
	t.Helper()
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	log, done := &eventstest.Log{}, events.Envelope{}
	for _, env := range b.log.All() {
		env.Time = env.Time.Add(wrong)
		if e, ok := env.Event.(events.RestoreCompleted); ok {
			until := e.KeptUntil.Add(wrong)
			e.KeptUntil = &until
			env.Event = e
		}
		env = log.Put(env)
		if _, ok := env.Event.(events.RestoreCompleted); ok {
			done = env
		}
	}
	if done.Event == nil {
		t.Fatalf("the restore has not completed: %+v", b.state())
	}
	return worker.New(*cfg, log), log, done
}

func stateIn(t *testing.T, log events.Log, a events.Aggregate) (s restore.State) {
	t.Helper()
	for env, err := range log.Read(t.Context(), a, 0) {
		if err != nil {
			t.Fatal(err)
		}
		s = s.Apply(env)
	}
	return s
}

// TestWhatWasReplacedIsKeptWhateverTheClockSays: a restore made in 1970, and one made in
// years, are kept as long as they should be, and can be undone.
func TestWhatWasReplacedIsKeptWhateverTheClockSays(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for name, wrong := range map[string]time.Duration{"1970": -56 * year, "an hour ago": -2 * time.Hour, "right": 0, "three years ahead": 3 * year} {
		t.Run(name, func(t *testing.T) {
			var cfg worker.Config
			b := newBenchWith(t, func(string) {}, func(c *worker.Config) { cfg = *c })
			w, log, done := restoredAt(t, b, &cfg, wrong)
			delay, wanted := events.RetryDelay(w.Drop(t.Context(), done))
			if !wanted || delay > time.Hour {
				t.Errorf("it comes again in %s, %t", delay, wanted)
			}
			if s := stateIn(t, log, b.a); s.Dropped {
				t.Error("what was replaced is dropped")
			}
			if err := w.Undo(t.Context(), &restore.Undo{ID: b.a.ID, Project: "p", Pool: "default"}, events.Cause{}); err != nil {
				t.Fatal(err)
			}
			if s := stateIn(t, log, b.a); !s.Undone {
				t.Errorf("state %+v", s)
			}
			b.is("after the undo", "changed")
		})
	}
}

// TestDrop removes what was replaced once its time has passed in the time of workers,
// those before a restart too, and finishes what a crash has left.
func TestDrop(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for name, wrong := range map[string]time.Duration{"1970": -56 * year, "three years ahead": 3 * year} {
		t.Run(name, func(t *testing.T) {
			var cfg worker.Config
			b := newBenchWith(t, func(string) {}, func(c *worker.Config) { cfg = *c })
			w, log, done := restoredAt(t, b, &cfg, wrong)
			b.alone("old", "old")
			if _, wanted := events.RetryDelay(w.Drop(t.Context(), done)); !wanted {
				t.Error("dropped at once")
			}
			note := filepath.Join(cfg.Dir, b.a.ID+".kept")
			if err := os.WriteFile(note, []byte("59m59.999s\n"), 0o600); err != nil { // as an earlier worker may have left it
				t.Fatal(err)
			}
			w = worker.New(cfg, log)
			for deadline := time.Now().Add(time.Minute); ; {
				err := w.Drop(t.Context(), done)
				if err == nil {
					break
				}
				if _, wanted := events.RetryDelay(err); !wanted || time.Now().After(deadline) {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Millisecond)
			}
			if s := stateIn(t, log, b.a); !s.Dropped {
				t.Errorf("state %+v", s)
			}
			b.alone()
			if _, err := os.Stat(note); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the note is left: %v", err)
			}
		})
	}
	t.Run("crash after the decision", func(t *testing.T) {
		var cfg worker.Config
		b := newBenchWith(t, func(string) {}, func(c *worker.Config) { cfg = *c })
		w, log, done := restoredAt(t, b, &cfg, 0)
		if _, err := log.Append(t.Context(), b.a, stateIn(t, log, b.a).Revision, events.RestoreOldDropped{}, events.Cause{}); err != nil {
			t.Fatal(err)
		}
		if err := w.Drop(t.Context(), done); err != nil {
			t.Fatal(err)
		}
		b.alone()
		b.is("after the drop", "backed up")
	})
}
