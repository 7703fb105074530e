package projection

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/logging"
)

// rebuild reads the log into a new file and makes its indexes last. It goes on with a
// file that an earlier process has begun. The file is closed; install makes it the one
// of the projection.
func (p *Projection) rebuild(ctx context.Context, state events.LogState) (events.Revision, error) {
	begin := time.Now()
	defer p.progress(0)
	f, done, err := p.begin(ctx, p.next(), state)
	if err != nil {
		return 0, fmt.Errorf("build the catalog: %w", err)
	}
	if done > 0 {
		p.log.Info("the catalog goes on being built", logging.Revision(uint64(done)))
	}
	done, err = p.fill(ctx, f, done, state)
	if err = errors.Join(err, f.close()); err != nil {
		return 0, fmt.Errorf("build the catalog: %w", err)
	}
	if done > 0 {
		p.log.Info("catalog rebuilt", logging.Revision(uint64(done)), logging.Duration(time.Since(begin)))
	}
	return done, nil
}

// next is where a new file is built.
func (p *Projection) next() string { return p.path + ".new" }

// install puts a file that was built in the place of the old one, which nobody has open,
// and opens it.
func (p *Projection) install(ctx context.Context) (*file, error) {
	if err := removeFile(p.path); err != nil {
		return nil, err
	}
	if err := os.Rename(p.next(), p.path); err != nil {
		return nil, err
	}
	return openFile(ctx, p.path)
}

// begin returns the file that is built, and how far it is.
func (p *Projection) begin(ctx context.Context, path string, state events.LogState) (*file, events.Revision, error) {
	f, err := openFile(ctx, path)
	if err == nil {
		at, err := f.place(ctx)
		if err == nil && at.current && at.Last > 0 && lostSince(at.LogState, state) == nil {
			if lost, err := p.compareEvent(ctx, at); err == nil && lost == nil {
				return f, at.Last, nil
			}
		}
		if err := f.close(); err != nil {
			return nil, 0, err
		}
	}
	if err := removeFile(path); err != nil {
		return nil, 0, err
	}
	if f, err = openFile(ctx, path); err != nil {
		return nil, 0, err
	}
	if err := f.create(ctx, state.Identity); err != nil {
		return nil, 0, errors.Join(err, f.close())
	}
	return f, 0, nil
}

var errCaughtUp = errors.New("caught up")

const (
	idleTime = 20 * time.Second // that a log which is read from its beginning may yield nothing
	sayBuilt = 10 * time.Second // between two words about how far a new file is
)

// fill applies the events after a revision up to where the log ended, and makes the
// indexes. It returns how far it came.
func (p *Projection) fill(ctx context.Context, f *file, done events.Revision, state events.LogState) (events.Revision, error) {
	w, err := newWriter(ctx, f)
	if err != nil {
		return 0, err
	}
	if w.bulk, err = newBulk(ctx, w); err == nil && done < state.Last {
		done, err = p.applyAll(ctx, w, done, state.Last)
	}
	if err == nil {
		err = w.bulk.finish(ctx, w)
	}
	return done, errors.Join(err, w.close())
}

// applyAll applies events until target. They are read and decoded beside that.
func (p *Projection) applyAll(ctx context.Context, w *writer, done, target events.Revision) (events.Revision, error) {
	// An end of the log that cannot be read must not keep the rest from being shown.
	rctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(idleTime, func() { cancel(errCaughtUp) })
	defer idle.Stop()
	batches, ended := make(chan []events.Envelope, 1), make(chan error, 1)
	go func() {
		defer close(batches)
		ended <- p.feedTo(rctx, done, func(batch []events.Envelope) error {
			select {
			case batches <- batch:
			case <-rctx.Done():
				return rctx.Err()
			}
			if batch[len(batch)-1].Revision >= target {
				return errCaughtUp
			}
			return nil
		})
	}()
	said := time.Now()
	for batch := range batches {
		err := w.apply(ctx, batch)
		if b := w.bulk; err == nil && b.rows != nil && len(b.rows.rows) > maxRowIndex {
			err = b.index(ctx, w) // too many for memory
		}
		if err != nil {
			cancel(err)
			return done, errors.Join(err, <-ended)
		}
		done = batch[len(batch)-1].Revision
		idle.Reset(idleTime)
		p.progress(done)
		if time.Since(said) > sayBuilt {
			said = time.Now()
			p.log.Info(p.building(), logging.Revision(uint64(done)), zap.Uint64("last", uint64(target)))
		}
	}
	err := <-ended
	if errors.Is(err, errCaughtUp) || done > 0 && errors.Is(context.Cause(rctx), errCaughtUp) {
		err = nil
	}
	return done, err
}

// progress notes how far a new file is; 0 when none is being built.
func (p *Projection) progress(done events.Revision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.built = done
}
