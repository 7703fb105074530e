package projection_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/eventstest"
	"github.com/holdfast-dev/holdfast/services/catalog"
	"github.com/holdfast-dev/holdfast/services/catalog/projection"
)

// halting is a log that yields nothing behind a revision, in small batches.
type halting struct {
	*eventstest.Log
	mu    sync.Mutex
	limit events.Revision
	asked []events.Revision // where it was followed from
}

func (h *halting) Follow(ctx context.Context, after events.Revision, f func([]events.Envelope) error) error {
	h.mu.Lock()
	h.asked = append(h.asked, after)
	limit := h.limit
	h.mu.Unlock()
	return h.Log.Follow(ctx, after, func(batch []events.Envelope) error {
		for i := range batch {
			if batch[i].Revision > limit {
				<-ctx.Done()
				return ctx.Err()
			}
			if err := f(batch[i : i+1]); err != nil {
				return err
			}
		}
		return nil
	})
}

// begin runs a projection until stop is called.
func begin(t testing.TB, path string, feed events.Feed) (p *projection.Projection, stop func()) {
	t.Helper()
	p = projection.New(path, feed, zap.NewNop())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	return p, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// TestAStoppedRebuildGoesOn from where it was, and is said to be running.
func TestAStoppedRebuildGoesOn(t *testing.T) {
	log, path := &eventstest.Log{Name: "one"}, filepath.Join(t.TempDir(), "c.db")
	for i := range 20 {
		record(t, log, "p", fmt.Sprintf("backup-%02d", i), request("local", "full"), started, completed)
	}
	h := &halting{Log: log, limit: 30}
	p, stop := begin(t, path, h)
	eventually(t, func() error {
		if err := p.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "(50 %)") {
			return fmt.Errorf("ready: %w", err)
		}
		return nil
	})
	stop()
	h.limit, h.asked = 60, nil
	p, stop = begin(t, path, h)
	defer stop()
	page, err := p.List(t.Context(), catalog.List{Limit: 50, Stats: true, Min: 60})
	if err != nil || page.Total != 20 || page.Stats.Size != 2000 {
		t.Errorf("%+v, %v", page, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, after := range h.asked {
		if after < 29 { // the event of the checkpoint itself is looked at
			t.Errorf("followed from %v: begun anew", h.asked)
		}
	}
}

// TestTheOldFileAnswersMeanwhile: a file of another meaning answers, and keeps up with
// the log, until the new one has been built.
func TestTheOldFileAnswersMeanwhile(t *testing.T) {
	log, path := &eventstest.Log{Name: "one"}, filepath.Join(t.TempDir(), "c.db")
	last := record(t, log, "p", "backup-a", request("local", "full"), events.Unknown{Type: "backup.held.v1"}, started, completed)
	p, stop := begin(t, path, log)
	if _, err := p.Get(t.Context(), catalog.Get{ID: "backup-a", Min: last}); err != nil {
		t.Fatal(err)
	}
	stop()
	later := &eventstest.Log{Name: "one"} // the same log, as a version sees it that knows the event
	for _, env := range log.All() {
		if env.Revision == 2 {
			env.Event = events.BackupHeld{}
		}
		later.Put(env)
	}
	gate := make(chan struct{})
	p, stop = begin(t, path, gated{later, gate})
	defer stop()
	last = record(t, later, "p", "backup-b", request("local", "full"))
	if b, err := p.Get(t.Context(), catalog.Get{ID: "backup-b", Min: last}); err != nil || b.Status != catalog.Pending {
		t.Errorf("what was appended meanwhile: %+v, %v", b, err)
	}
	if b, err := p.Get(t.Context(), catalog.Get{ID: "backup-a"}); err != nil || b.Held {
		t.Errorf("before: %+v, %v", b, err)
	}
	close(gate)
	eventually(t, func() error {
		if b, err := p.Get(t.Context(), catalog.Get{ID: "backup-a"}); err != nil || !b.Held {
			return fmt.Errorf("after: %+v, %w", b, err)
		}
		return nil
	})
	if b, err := p.Get(t.Context(), catalog.Get{ID: "backup-b", Min: last}); err != nil || b.Status != catalog.Pending {
		t.Errorf("after: %+v, %v", b, err)
	}
}

// gated is a log that is read from its beginning only when the gate is open.
type gated struct {
	*eventstest.Log
	gate chan struct{}
}

func (g gated) Follow(ctx context.Context, after events.Revision, f func([]events.Envelope) error) error {
	if after == 0 {
		select {
		case <-g.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return g.Log.Follow(ctx, after, f)
}

// TestABuildThatEndedBeforeItsRename has written its totals and indexes already: the next
// process counts nothing twice.
func TestABuildThatEndedBeforeItsRename(t *testing.T) {
	log, path := &eventstest.Log{Name: "one"}, filepath.Join(t.TempDir(), "c.db")
	last := events.Revision(0)
	for i := range 5 {
		last = record(t, log, "p", fmt.Sprintf("backup-%d", i), request("local", "full"), started, completed)
	}
	check := func() {
		t.Helper()
		p, stop := begin(t, path, log)
		defer stop()
		page, err := p.List(t.Context(), catalog.List{Limit: 50, Stats: true, Min: last, Filter: catalog.Filter{Status: catalog.Completed}})
		if err != nil || page.Total != 5 || page.Stats.Size != 500 {
			t.Errorf("%+v, %v", page, err)
		}
		since, err := p.List(t.Context(), catalog.List{Limit: 50, Filter: catalog.Filter{CreatedAfter: time.Unix(0, 0)}})
		if err != nil || since.Total != 5 {
			t.Errorf("since 1970: %d, %v", since.Total, err)
		}
	}
	check()
	if err := os.Rename(path, path+".new"); err != nil {
		t.Fatal(err)
	}
	check()
}

// TestManyQuestionsAtOnce are all answered, the first ones of a file too.
func TestManyQuestionsAtOnce(t *testing.T) {
	log, path := &eventstest.Log{Name: "one"}, filepath.Join(t.TempDir(), "c.db")
	last := record(t, log, "p", "backup-a", request("local", "full"), started, completed)
	p, stop := begin(t, path, log)
	defer stop()
	ended := make(chan error, 64)
	for i := range cap(ended) {
		go func() {
			var err error
			switch i % 4 {
			case 0:
				_, err = p.List(t.Context(), catalog.List{Limit: 1, Stats: true, Min: last})
			case 1:
				_, err = p.List(t.Context(), catalog.List{Limit: 1, Min: last, Filter: catalog.Filter{Project: "p", Destination: fmt.Sprint("d", i)}})
			case 2:
				_, err = p.Get(t.Context(), catalog.Get{ID: "backup-a", Min: last})
			case 3:
				_, err = p.Figures(t.Context(), catalog.Figures{})
			}
			ended <- err
		}()
	}
	for range cap(ended) {
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("a question is not answered")
		}
	}
}
