// Package projection keeps the catalog in a SQLite file. The file holds nothing
// that the log does not: it may be deleted at any time, and is built anew by
// itself when it belongs to another log, to a later place in it, or to another
// version of this package.
package projection

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
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
	file    *file // that answers; nil while there is none that fits the log
	done    events.Revision
	changed chan struct{}   // closed when done or file changes
	built   events.Revision // how far a new file is; 0 when none is being built
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

// close ends the file that answers, when those who read it are done.
func (p *Projection) close() {
	p.mu.Lock()
	f := p.file
	p.file = nil
	p.mu.Unlock()
	if f != nil {
		_ = f.close() // everything is committed
	}
}

// follow answers from the file, if it fits, and follows the log. It returns when that
// can only be done anew.
func (p *Projection) follow(ctx context.Context) error {
	state, err := p.feed.State(ctx)
	if err != nil {
		return err
	}
	p.head.Store(uint64(state.Last))
	f, at, err := p.open(ctx, state)
	if lost, damaged := errors.AsType[*events.DamageError](err); damaged && f != nil {
		p.serve(f, at.Last)
		return p.wait(ctx, lost, at.LogState, state)
	}
	switch {
	case err != nil:
		return err
	case f != nil && at.current:
		p.serve(f, at.Last)
		return p.keepUp(ctx, f, at.Last)
	case f != nil:
		return p.replace(ctx, f, at, state)
	}
	return p.build(ctx, state)
}

// replace answers from a file that another version would have built otherwise, and
// keeps it up with the log, until a new one takes its place.
func (p *Projection) replace(ctx context.Context, old *file, at place, state events.LogState) error {
	known := at.Last
	if at.Identity != state.Identity {
		known = 0 // its revisions are those of another log
	}
	p.serve(old, known)
	octx, stop := context.WithCancel(ctx)
	var following sync.WaitGroup
	if known > 0 {
		following.Go(func() {
			if err := p.keepUp(octx, old, at.Last); octx.Err() == nil {
				p.log.Warn("the old catalog does not follow the event log while a new one is built", zap.Error(err))
			}
		})
	}
	done, err := p.rebuild(ctx, state)
	stop()
	following.Wait()
	p.close() // who asks now waits for the new one
	if err != nil {
		return err
	}
	return p.takeOver(ctx, done)
}

// takeOver answers from a file that was built, up to a revision, and keeps it up.
func (p *Projection) takeOver(ctx context.Context, done events.Revision) error {
	f, err := p.install(ctx)
	if err != nil {
		return err
	}
	p.serve(f, done)
	return p.keepUp(ctx, f, done)
}

// build builds a file where there is none that could answer meanwhile.
func (p *Projection) build(ctx context.Context, state events.LogState) error {
	done, err := p.rebuild(ctx, state)
	if err != nil {
		return err
	}
	return p.takeOver(ctx, done)
}

// serve lets a file answer, which knows the log up to a revision. There is no other one.
func (p *Projection) serve(f *file, done events.Revision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.file = f
	p.moved(done)
}

// keepUp applies to a file what is appended to the log.
func (p *Projection) keepUp(ctx context.Context, f *file, done events.Revision) error {
	w, err := newWriter(ctx, f)
	if err != nil {
		return err
	}
	err = p.feedTo(ctx, done, func(batch []events.Envelope) error {
		if err := w.apply(ctx, batch); err != nil {
			return err
		}
		p.advance(batch[len(batch)-1].Revision)
		return nil
	})
	return errors.Join(err, w.close())
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

// feedTo calls f with the events after a revision, past what the log has lost as well.
func (p *Projection) feedTo(ctx context.Context, after events.Revision, f func([]events.Envelope) error) error {
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

// open opens the file and says where it is; nil if there is none that can answer. A file
// that knows more than the log comes with a [*events.DamageError], unless that was
// accepted, and then it is not current.
func (p *Projection) open(ctx context.Context, state events.LogState) (*file, place, error) {
	f, err := openFile(ctx, p.path)
	if err != nil {
		p.log.Warn("the catalog file cannot be used and is built anew", zap.Error(err))
		return nil, place{}, nil
	}
	at, err := f.place(ctx)
	if err != nil || at.Last == 0 {
		return nil, place{}, f.close() // new, damaged, or of somebody else
	}
	accepted, err := p.compare(ctx, at, state)
	lost, damaged := errors.AsType[*events.DamageError](err)
	switch {
	case err != nil && !damaged:
		return nil, place{}, errors.Join(err, f.close())
	case !at.readable:
		return nil, place{}, f.close()
	case damaged && !accepted:
		return f, at, lost
	case damaged:
		at.current, at.Identity = false, ""
	}
	return f, at, nil
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

// behind returns for how long the file has not got as far as the log was. The caller
// holds p.mu.
func (p *Projection) behind() time.Duration {
	if p.done >= p.target {
		return 0
	}
	return time.Since(p.since)
}

// advance tells those who wait how far the file is.
func (p *Projection) advance(done events.Revision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moved(done)
}

// moved is advance for callers who hold p.mu.
func (p *Projection) moved(done events.Revision) {
	if head := p.head.Load(); uint64(done) > head {
		p.head.Store(uint64(done))
	}
	p.done = done
	close(p.changed)
	p.changed = make(chan struct{})
}

// waitLimit is how long a question waits for its minimum revision.
const waitLimit = 2 * time.Second

// at returns the file once it knows revision minimum. The caller must call release when
// it has read.
func (p *Projection) at(ctx context.Context, minimum events.Revision) (f *file, release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	for {
		p.mu.Lock()
		f, done, changed := p.file, p.done, p.changed
		p.mu.Unlock()
		if f != nil && done >= minimum {
			if release, ok := f.acquire(); ok {
				return f, release, nil
			}
			continue // another file has just taken its place
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil, fault.Errorf(fault.Unavailable, "%s; try again", p.why(f == nil, done, minimum))
		}
	}
}

// why says for people why a question cannot be answered yet.
func (p *Projection) why(building bool, done, minimum events.Revision) string {
	if building {
		return p.building()
	}
	return fmt.Sprintf("The catalog is %d events behind what it was asked about", minimum-done)
}

// building says for people how far a new file is.
func (p *Projection) building() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if head := p.head.Load(); p.built > 0 && head > 0 {
		return fmt.Sprintf("The catalog is being built from the event log (%d %%)", min(99, uint64(p.built)*100/head))
	}
	return "The catalog is being built from the event log"
}

// Ready returns why the catalog cannot answer, if it cannot.
func (p *Projection) Ready(context.Context) error {
	p.mu.Lock()
	answers := p.file != nil
	p.mu.Unlock()
	if !answers {
		return errors.New(p.building())
	}
	return nil
}
