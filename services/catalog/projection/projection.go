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

// errAccepted says that a damaged log was accepted, or is whole again: the file follows
// it from now on.
var errAccepted = errors.New("what the log has lost was accepted, or is there again")

// Projection is a [catalog.Reader] that follows a log. Goroutines may share it.
type Projection struct {
	path string
	feed events.Feed
	log  *zap.Logger
	head atomic.Uint64 // last known end of the log

	// damaged is told what the log has lost and reports whether that was accepted.
	damaged func(context.Context, *events.DamageError) (bool, error)

	mu      sync.Mutex
	db      *sql.DB // nil while there is no file that fits the log
	done    events.Revision
	changed chan struct{} // closed when done grows
	hist    histogram
	target  events.Revision // end of the log that was seen at since, and not reached yet then
	since   time.Time
}

// New returns a projection in the file path. It answers nothing until
// [Projection.Run] has caught up.
func New(path string, feed events.Feed, log *zap.Logger) *Projection {
	return &Projection{path: path, feed: feed, log: log, changed: make(chan struct{}), damaged: func(_ context.Context, d *events.DamageError) (bool, error) {
		log.Error("the event log is damaged", zap.String("damage", d.Error()))
		return true, nil
	}}
}

// OnDamage lets f know what the log has lost. While f reports that it was not accepted,
// a file that knows more than the log answers as it is. Call it before Run.
func (p *Projection) OnDamage(f func(context.Context, *events.DamageError) (accepted bool, err error)) {
	p.damaged = f
}

const (
	retryWait = time.Second
	sayEvery  = time.Minute // of the same error
)

// Run follows the log until ctx ends. Whatever goes wrong it says and tries
// again: an event is never passed over.
func (p *Projection) Run(ctx context.Context) error {
	defer p.close()
	lctx, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { p.watchLag(lctx) })
	defer watching.Wait()
	defer stop()
	said, at := "", time.Time{}
	for {
		err := p.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if text := err.Error(); text != said || time.Since(at) > sayEvery {
			said, at = text, time.Now()
			p.log.Error("catalog stopped following; trying again", zap.Error(err))
		}
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
	lost, old := errors.AsType[*events.DamageError](err)
	if err != nil && (!old || db == nil) {
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
	if old {
		return p.wait(ctx, lost, events.LogState{Identity: lost.Replaced, Last: done}, state)
	}
	return p.read(ctx, done, func(batch []events.Envelope) error {
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

// wait answers from an old file until what the log has lost is accepted, or is there
// again: a replica may have been behind.
func (p *Projection) wait(ctx context.Context, lost *events.DamageError, known, now events.LogState) error {
	shorter := lostSince(known, now) != nil // and not another event in the same place
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryWait):
		}
		if state, err := p.feed.State(ctx); shorter && err == nil && lostSince(known, state) == nil {
			return errAccepted
		}
		if accepted, err := p.damaged(ctx, lost); accepted && err == nil {
			return errAccepted
		}
	}
}

// read follows the log, past what it has lost as well.
func (p *Projection) read(ctx context.Context, after events.Revision, f func([]events.Envelope) error) error {
	for {
		err := p.feed.Follow(ctx, after, f)
		lost, ok := errors.AsType[*events.DamageError](err)
		if !ok {
			return err
		}
		if _, err := p.damaged(ctx, lost); err != nil {
			return err
		}
		after = lost.Last
	}
}

// open opens the file if it fits the log, else builds a new one. A file that knows more
// than the log comes with a [*events.DamageError], unless that was accepted.
func (p *Projection) open(ctx context.Context, state events.LogState) (*sql.DB, events.Revision, error) {
	db, err := openFile(ctx, p.path)
	if err == nil {
		known, err := checkpoint(ctx, db)
		if err == nil {
			accepted, err := p.compare(ctx, known, state)
			lost, old := errors.AsType[*events.DamageError](err)
			switch {
			case err != nil && !old:
				return nil, 0, errors.Join(err, db.Close())
			case known.current && (!old || !accepted):
				return db, known.Last, err
			}
			if old {
				p.log.Warn("the catalog is built anew from a log that has lost something", zap.String("lost", lost.Loss()))
			}
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

// compareWait is how long the log may take to show the event of a checkpoint.
const compareWait = 5 * time.Second

// compare returns a [*events.DamageError] when the log is not the one that a file was
// built from, and whether that was accepted.
func (p *Projection) compare(ctx context.Context, known place, state events.LogState) (accepted bool, err error) {
	lost := lostSince(known.LogState, state)
	if lost == nil && known.event != "" {
		if lost, err = p.compareEvent(ctx, known); err != nil {
			return false, err
		}
	}
	if lost == nil {
		return false, nil
	}
	if accepted, err = p.damaged(ctx, lost); err != nil {
		return false, err
	}
	return accepted, lost
}

// compareEvent looks whether the log still has the event of a checkpoint: another one
// may stand there after a loss.
func (p *Projection) compareEvent(ctx context.Context, known place) (*events.DamageError, error) {
	ctx, cancel := context.WithTimeout(ctx, compareWait)
	defer cancel()
	id := ""
	err := p.feed.Follow(ctx, known.Last-1, func(batch []events.Envelope) error {
		id = batch[0].ID
		return errCaughtUp
	})
	if _, gone := errors.AsType[*events.DamageError](err); !gone && !errors.Is(err, errCaughtUp) {
		return nil, fmt.Errorf("event %d of the log: %w", known.Last, err)
	}
	if id == known.event {
		return nil, nil //nolint:nilnil // nothing is lost
	}
	return &events.DamageError{Gap: events.Gap{First: known.Last, Last: known.Last}, Replaced: known.Identity}, nil
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

// idleTime is how long a log that is read from its beginning may yield nothing.
const idleTime = 20 * time.Second

func (p *Projection) fill(ctx context.Context, db *sql.DB, state events.LogState) (events.Revision, error) {
	if err := create(ctx, db, state.Identity); err != nil || state.Last == 0 {
		return 0, err
	}
	var done events.Revision
	// An end of the log that cannot be read must not keep the rest from being shown.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(idleTime, func() { cancel(errCaughtUp) })
	defer idle.Stop()
	err := p.read(ctx, 0, func(batch []events.Envelope) error {
		if _, err := apply(ctx, db, batch); err != nil {
			return err
		}
		done = batch[len(batch)-1].Revision
		idle.Reset(idleTime)
		if done >= state.Last {
			return errCaughtUp
		}
		return nil
	})
	if errors.Is(err, errCaughtUp) || done > 0 && errors.Is(context.Cause(ctx), errCaughtUp) {
		err = nil
	}
	return done, err
}

// lagEvery is how often the end of the log is looked at.
const lagEvery = 2 * time.Second

// watchLag notes how long the file does not get as far as the log was.
func (p *Projection) watchLag(ctx context.Context) {
	for {
		if state, err := p.feed.State(ctx); err == nil {
			p.head.Store(uint64(state.Last))
			p.mu.Lock()
			if p.done >= p.target {
				p.target, p.since = state.Last, time.Now()
			}
			p.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(lagEvery):
		}
	}
}

// behind returns for how long the file has not got as far as the log was.
func (p *Projection) behind() time.Duration {
	if p.done >= p.target {
		return 0
	}
	return time.Since(p.since)
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
const waitLimit = 2 * time.Second

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
			return nil, fault.Errorf(fault.Unavailable, "%s; try again", p.why(db == nil, done, minimum))
		}
	}
}

// why says for people why a question cannot be answered yet.
func (p *Projection) why(building bool, done, minimum events.Revision) string {
	if building {
		return "The catalog is being built from the event log"
	}
	return fmt.Sprintf("The catalog is %d events behind what it was asked about", minimum-done)
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
