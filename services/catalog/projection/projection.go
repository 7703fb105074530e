// Package projection keeps the catalog in a SQLite file. The file holds nothing
// that the log does not: it may be deleted at any time, and is built anew by
// itself when it belongs to another log, to a later place in it, or to another
// version of this package.
package projection

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/internal/logging"
)

// Projection is a [catalog.Reader] that follows a log. Goroutines may share it.
type Projection struct {
	path string
	feed events.Feed
	log  *zap.Logger
	head atomic.Uint64 // last known end of the log

	mu      sync.Mutex
	db      *sql.DB // nil while there is no file that fits the log
	done    events.Revision
	changed chan struct{} // closed when done grows
	hist    histogram
}

// New returns a projection in the file path. It answers nothing until
// [Projection.Run] has caught up.
func New(path string, feed events.Feed, log *zap.Logger) *Projection {
	return &Projection{path: path, feed: feed, log: log, changed: make(chan struct{})}
}

const retryWait = time.Second

// Run follows the log until ctx ends. Whatever goes wrong it says and tries
// again: an event is never passed over.
func (p *Projection) Run(ctx context.Context) error {
	defer p.close()
	for {
		err := p.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		p.log.Error("catalog stopped following; trying again", zap.Error(err))
		p.close()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryWait):
		}
	}
}

func (p *Projection) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.db != nil {
		_ = p.db.Close() // everything is committed
		p.db = nil
	}
}

func (p *Projection) follow(ctx context.Context) error {
	state, err := p.feed.State(ctx)
	if err != nil {
		return err
	}
	p.head.Store(uint64(state.Last))
	db, done, err := p.open(ctx, state)
	if err != nil {
		return err
	}
	hist, err := loadHistogram(ctx, db)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	p.mu.Lock()
	p.db, p.hist = db, hist
	p.mu.Unlock()
	p.advance(done)
	return p.feed.Follow(ctx, done, func(batch []events.Envelope) error {
		last := batch[len(batch)-1].Revision
		ended, err := apply(ctx, db, batch)
		if err != nil {
			return err
		}
		p.mu.Lock()
		for _, b := range ended {
			p.hist.observe(b)
		}
		p.mu.Unlock()
		p.advance(last)
		return nil
	})
}

// open opens the file if it fits the log, else builds a new one.
func (p *Projection) open(ctx context.Context, state events.LogState) (*sql.DB, events.Revision, error) {
	db, err := openFile(ctx, p.path)
	if err == nil {
		done, fits, err := checkpoint(ctx, db, state)
		if err == nil && fits {
			return db, done, nil
		}
		if err := db.Close(); err != nil {
			return nil, 0, err
		}
	} else {
		p.log.Warn("catalog file cannot be used; it is built anew", zap.Error(err))
	}
	begin := time.Now()
	db, done, err := p.rebuild(ctx, state)
	if err == nil && done > 0 {
		p.log.Info("catalog rebuilt", logging.Revision(uint64(done)), logging.Duration(time.Since(begin)))
	}
	return db, done, err
}

// rebuild reads the log into a new file, makes its indexes last, and puts it in
// the place of the old one.
func (p *Projection) rebuild(ctx context.Context, state events.LogState) (*sql.DB, events.Revision, error) {
	next := p.path + ".new"
	if err := removeFile(next); err != nil {
		return nil, 0, err
	}
	db, err := openFile(ctx, next)
	if err != nil {
		return nil, 0, err
	}
	done, err := p.fill(ctx, db, state)
	if err == nil {
		_, err = db.ExecContext(ctx, indexes)
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return nil, 0, fmt.Errorf("rebuild catalog: %w", err)
	}
	if err := removeFile(p.path); err != nil {
		return nil, 0, err
	}
	if err := os.Rename(next, p.path); err != nil {
		return nil, 0, err
	}
	db, err = openFile(ctx, p.path)
	return db, done, err
}

var errCaughtUp = errors.New("caught up")

func (p *Projection) fill(ctx context.Context, db *sql.DB, state events.LogState) (events.Revision, error) {
	if err := create(ctx, db, state.Identity); err != nil || state.Last == 0 {
		return 0, err
	}
	var done events.Revision
	err := p.feed.Follow(ctx, 0, func(batch []events.Envelope) error {
		done = batch[len(batch)-1].Revision
		if _, err := apply(ctx, db, batch); err != nil {
			return err
		}
		if done >= state.Last {
			return errCaughtUp
		}
		return nil
	})
	if errors.Is(err, errCaughtUp) {
		err = nil
	}
	return done, err
}

// advance tells those who wait how far the file is.
func (p *Projection) advance(done events.Revision) {
	if head := p.head.Load(); uint64(done) > head {
		p.head.Store(uint64(done))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = done
	close(p.changed)
	p.changed = make(chan struct{})
}

// waitLimit is how long a question waits for its minimum revision.
const waitLimit = 10 * time.Second

// at returns the file once it knows revision minimum.
func (p *Projection) at(ctx context.Context, minimum events.Revision) (*sql.DB, error) {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	for {
		p.mu.Lock()
		db, done, changed := p.db, p.done, p.changed
		p.mu.Unlock()
		if db != nil && done >= minimum {
			return db, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fault.Errorf(fault.Unavailable, "The catalog is at revision %d and not yet at %d; try again", done, minimum)
		}
	}
}

// Ready returns why the catalog cannot answer, if it cannot.
func (p *Projection) Ready(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.db == nil {
		return errors.New("the catalog is being built from the log")
	}
	return nil
}
