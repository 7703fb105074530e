package projection_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/eventstest"
	"github.com/holdfast-dev/holdfast/services/catalog"
	"github.com/holdfast-dev/holdfast/services/catalog/projection"
)

// operator accepts damage when it is told to.
type operator struct {
	accepts atomic.Bool
	found   atomic.Pointer[events.DamageError]
}

func (o *operator) damaged(_ context.Context, d *events.DamageError) (bool, error) {
	o.found.Store(d)
	return o.accepts.Load(), nil
}

// follow starts a projection that tells an operator of damage. It stops with the test.
func follow(t *testing.T, path string, log *eventstest.Log) (*projection.Projection, *operator) {
	t.Helper()
	o := &operator{}
	p := projection.New(path, log, zap.NewNop())
	p.OnDamage(o.damaged)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return p, o
}

// eventually calls f until it returns nil.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	err := f()
	for deadline := time.Now().Add(time.Minute); err != nil && time.Now().Before(deadline); err = f() {
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestShorterLog keeps an old file until the operator accepts that the log is shorter,
// or has other events in the same places.
func TestShorterLog(t *testing.T) {
	for name, more := range map[string]int{"shorter": 0, "other events": 5} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "c.db")
			old := &eventstest.Log{Name: "one"}
			for _, id := range []string{"backup-a", "backup-b", "backup-c"} {
				record(t, old, "p", id, request("local", "full"))
			}
			p, stop := run(t, path, old)
			if _, err := p.List(t.Context(), catalog.List{Limit: 1, Min: 3}); err != nil {
				t.Fatal(err)
			}
			stop()
			if known, err := projection.Checkpoint(t.Context(), path); err != nil || known != (events.LogState{Identity: "one", Last: 3}) {
				t.Errorf("checkpoint %+v, %v", known, err)
			}
			now := &eventstest.Log{Name: "one"}
			now.Put(events.Envelope{ID: "other", Aggregate: events.BackupAggregate("p", "backup-d"), Time: time.Now(), Event: request("local", "full")})
			for range more {
				now.Put(events.Envelope{ID: "other", Aggregate: events.BackupAggregate("p", "backup-d"), Time: time.Now(), Event: events.BackupHeld{}})
			}
			p, o := follow(t, path, now)
			eventually(t, func() error {
				if d := o.found.Load(); d == nil || d.Replaced != "one" || d.Last != 3 {
					return errors.New("not noticed")
				}
				return nil
			})
			if page, err := p.List(t.Context(), catalog.List{Limit: 10, Min: 1}); err != nil || page.Total != 3 {
				t.Errorf("before: %+v, %v", page, err)
			}
			o.accepts.Store(true)
			eventually(t, func() error {
				if page, err := p.List(t.Context(), catalog.List{Limit: 10, Min: 1}); err != nil || page.Total != 1 || page.Backups[0].ID != "backup-d" {
					return errors.New("not built anew")
				}
				return nil
			})
		})
	}
}

// TestMissingRevisions tells what is missing and shows the rest, from the file and
// built anew.
func TestMissingRevisions(t *testing.T) {
	log, path := &eventstest.Log{Name: "one"}, filepath.Join(t.TempDir(), "c.db")
	for _, id := range []string{"backup-a", "backup-b", "backup-c"} {
		record(t, log, "p", id, request("local", "full"))
	}
	log.Lose(2)
	p, o := follow(t, path, log)
	page, err := p.List(t.Context(), catalog.List{Limit: 10, Min: 3})
	if d := o.found.Load(); err != nil || page.Total != 2 || d == nil || d.Gap != (events.Gap{First: 2, Last: 2}) {
		t.Errorf("%+v, %v, damage %v", page, err, d)
	}
	record(t, log, "p", "backup-d", request("local", "full"))
	record(t, log, "p", "backup-e", request("local", "full"))
	log.Lose(6)
	record(t, log, "p", "backup-f", request("local", "full"))
	record(t, log, "p", "backup-g", request("local", "full"))
	if page, err := p.List(t.Context(), catalog.List{Limit: 10, Min: 7}); err != nil || page.Total != 5 {
		t.Errorf("%+v, %v", page, err)
	}
}

// TestBrokenEvent is counted and shown at its backup; everything else goes on.
func TestBrokenEvent(t *testing.T) {
	log := &eventstest.Log{Name: "one"}
	p, _ := follow(t, filepath.Join(t.TempDir(), "c.db"), log)
	record(t, log, "p", "backup-a", request("local", "full"))
	broken := events.Broken{Type: "backup.started.v1", Err: events.ErrBroken}
	log.Put(events.Envelope{ID: "x", Aggregate: events.BackupAggregate("p", "backup-a"), Event: broken})
	log.Put(events.Envelope{ID: "y", Aggregate: events.Aggregate{Project: events.System, Kind: "unknown", ID: "unknown"}, Event: broken})
	last := record(t, log, "p", "backup-b", request("local", "full"), started, completed)
	if b, err := p.Get(t.Context(), catalog.Get{ID: "backup-a", Min: last}); err != nil || b.Broken != 2 || b.Status != catalog.Pending {
		t.Errorf("%+v, %v", b, err)
	}
	if b, err := p.Get(t.Context(), catalog.Get{ID: "backup-b"}); err != nil || b.Broken != 0 || b.Status != catalog.Completed {
		t.Errorf("%+v, %v", b, err)
	}
	if m, err := p.Figures(t.Context(), catalog.Figures{}); err != nil || m.Broken != 2 {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestClocks sets the clock back during a backup, and ahead for another.
func TestClocks(t *testing.T) {
	log := &eventstest.Log{Name: "one"}
	p, _ := follow(t, filepath.Join(t.TempDir(), "c.db"), log)
	now := time.Now()
	put := func(id string, at time.Time, e events.Event) events.Revision {
		return log.Put(events.Envelope{ID: id, Aggregate: events.BackupAggregate("p", id), Time: at, Event: e}).Revision
	}
	put("backup-future", now.AddDate(3, 0, 0), request("local", "full"))
	put("backup-future", now.AddDate(3, 0, 0), completed)
	put("backup-back", now, request("local", "full"))
	last := put("backup-back", now.Add(-time.Hour), completed)
	b, err := p.Get(t.Context(), catalog.Get{ID: "backup-back", Min: last})
	if err != nil || b.Ended.Sub(b.Created) != 0 {
		t.Errorf("it took %s, %v", b.Ended.Sub(b.Created), err)
	}
	restored := func(id string, at, end time.Time) events.Revision {
		a := events.RestoreAggregate("p", id)
		log.Put(events.Envelope{ID: id + "1", Aggregate: a, Time: at, Event: events.RestoreRequested{Backup: "backup-back", Pool: "default"}})
		return log.Put(events.Envelope{ID: id + "2", Aggregate: a, Time: end, Event: events.RestoreCompleted{Attempt: 1}}).Revision
	}
	restored("restore-future", now.AddDate(3, 0, 0), now.AddDate(3, 0, 0))
	last = restored("restore-back", now, now.Add(-time.Hour))
	r, err := p.Restore(t.Context(), catalog.GetRestore{ID: "restore-back", Min: last})
	if err != nil || r.Ended.Sub(r.Created) != 0 {
		t.Errorf("the restore took %s, %v", r.Ended.Sub(r.Created), err)
	}
	m, err := p.Figures(t.Context(), catalog.Figures{})
	if at := m.Success["p"]; err != nil || !at.Equal(now.Add(-time.Hour)) {
		t.Errorf("last success %s, %v; want that of the last end in the log", at, err)
	}
	put("backup-corrected", now.AddDate(3, 0, 0), request("local", "full")) // and then the clock is right
	put("backup-corrected", now, completed)
	put("backup-adopted", now, events.BackupAdopted{Type: "full", Destination: "local", CreatedAt: now.AddDate(2, 0, 0), EndedAt: now.AddDate(3, 0, 0)})
	eventually(t, func() error {
		if m, err := p.Figures(t.Context(), catalog.Figures{}); err != nil || !m.Success["p"].Equal(now) {
			return fmt.Errorf("last success %s, %w; want %s", m.Success["p"], err, now)
		}
		return nil
	})
	if len(m.Restores) != 1 || m.Restores[0].Count != 2 || !m.Restores[0].Ended.Equal(r.Ended) {
		t.Errorf("restores %+v, want the last at %s", m.Restores, r.Ended)
	}
}

// TestUpgrade looks again at events that an older version did not know.
func TestUpgrade(t *testing.T) {
	log, path := &eventstest.Log{Name: "one"}, filepath.Join(t.TempDir(), "c.db")
	record(t, log, "p", "backup-a", request("local", "full"))
	unknown := log.Put(events.Envelope{ID: "x", Aggregate: events.BackupAggregate("p", "backup-a"), Event: events.Unknown{Type: "backup.held.v1", Data: json.RawMessage("{}")}})
	p, stop := run(t, path, log)
	if b, err := p.Get(t.Context(), catalog.Get{ID: "backup-a", Min: unknown.Revision}); err != nil || b.Held {
		t.Fatalf("%+v, %v", b, err)
	}
	stop()
	later := &eventstest.Log{Name: "one"} // the same log, as a version sees it that knows the event
	for _, env := range log.All() {
		if env.Revision == unknown.Revision {
			env.Event = events.BackupHeld{}
		}
		later.Put(env)
	}
	p, stop = run(t, path, later)
	defer stop()
	eventually(t, func() error { // the old file answers until the new one has been built
		if b, err := p.Get(t.Context(), catalog.Get{ID: "backup-a", Min: unknown.Revision}); err != nil || !b.Held {
			return fmt.Errorf("%+v, %w", b, err)
		}
		return nil
	})
}

// TestUnreadableEnd builds a catalog from a log whose last event cannot be read.
func TestUnreadableEnd(t *testing.T) {
	log := &eventstest.Log{Name: "one"}
	record(t, log, "p", "backup-a", request("local", "full"))
	log.Lose(record(t, log, "p", "backup-b", request("local", "full")))
	p, _ := follow(t, filepath.Join(t.TempDir(), "c.db"), log)
	eventually(t, func() error {
		if page, err := p.List(t.Context(), catalog.List{Limit: 9}); err != nil || page.Total != 1 {
			return errors.New("not built")
		}
		return nil
	})
}

// TestLag notices that the end of the log is not reached.
func TestLag(t *testing.T) {
	log := &eventstest.Log{Name: "one"}
	record(t, log, "p", "backup-a", request("local", "full"))
	p, _ := follow(t, filepath.Join(t.TempDir(), "c.db"), log)
	if _, err := p.Figures(t.Context(), catalog.Figures{}); err != nil {
		t.Fatal(err)
	}
	log.Lose(2)
	record(t, log, "p", "backup-b", request("local", "full"))
	eventually(t, func() error {
		if m, err := p.Figures(t.Context(), catalog.Figures{}); err != nil || m.Behind == 0 || m.Lag != 1 {
			return errors.New("not behind")
		}
		return nil
	})
	record(t, log, "p", "backup-c", request("local", "full"))
	eventually(t, func() error {
		if m, err := p.Figures(t.Context(), catalog.Figures{}); err != nil || m.Behind != 0 {
			return errors.New("still behind")
		}
		return nil
	})
}
