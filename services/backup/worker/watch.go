package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// pulse shows whether an attempt still moves.
type pulse struct {
	writer  atomic.Pointer[archive.Writer]
	session atomic.Pointer[project.Session]
	name    atomic.Pointer[string]
	busy    atomic.Bool // something takes its time that shows no progress
}

func (p *pulse) phase(name string) { p.name.Store(&name) }

// progress returns how far the attempt is.
func (p *pulse) progress() events.Progress {
	var out events.Progress
	if n := p.name.Load(); n != nil {
		out.Phase = *n
	}
	if w := p.writer.Load(); w != nil {
		out.Bytes, out.Entries = w.Progress()
	}
	return out
}

// alive reports whether something goes on that shows no progress.
func (p *pulse) alive() bool {
	s := p.session.Load()
	return p.busy.Load() || s != nil && s.Counting()
}

const (
	tick       = time.Second     // progress is published so often
	fenceCheck = 5 * time.Second // so soon a fenced attempt stops
	giveUp     = 30 * time.Second
)

// guarded makes the backup, publishes progress and ends the attempt when nothing
// moves any more or another one has taken over. A read or write that does not end
// even then, such as on a dead network file system, is left behind.
func (at *attempt) guarded(ctx context.Context) (events.BackupCompleted, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	type result struct {
		done events.BackupCompleted
		err  error
	}
	ended := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
			ended <- r
		}()
		r.done, r.err = at.make(ctx)
	}()
	var watching sync.WaitGroup
	watching.Go(func() { at.watch(ctx, cancel) })
	defer watching.Wait()
	defer cancel(nil)
	var gone <-chan time.Time
	over := ctx.Done()
	for {
		select {
		case r := <-ended:
			if cause := context.Cause(ctx); r.err != nil && cause != nil {
				r.err = cause
			}
			return r.done, r.err
		case <-over:
			over, gone = nil, time.After(giveUp)
		case <-gone:
			return events.BackupCompleted{}, context.Cause(ctx)
		}
	}
}

// watch runs until ctx ends, which it may bring about.
func (at *attempt) watch(ctx context.Context, end context.CancelCauseFunc) {
	t := time.NewTicker(tick)
	defer t.Stop()
	last, moved, checked := events.Progress{}, time.Now(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := at.pulse.progress()
		if now != last || at.pulse.alive() {
			last, moved = now, time.Now()
		}
		if at.w.cfg.Report != nil {
			at.w.cfg.Report(at.a, now)
		}
		if stall := at.w.cfg.StallTimeout; stall > 0 && time.Since(moved) > stall {
			end(fmt.Errorf("%w: nothing moved for %s in the phase %s", errStalled, stall, now.Phase))
			return
		}
		if time.Since(checked) > fenceCheck {
			checked = time.Now()
			if at.fenced(ctx) {
				end(events.ErrFenced)
				return
			}
		}
	}
}

// fenced reports whether the log shows another attempt or an end.
func (at *attempt) fenced(ctx context.Context) bool {
	_, err := events.Update(ctx, at.w.log, at.a, at.cause, func(s backup.State) (events.Event, error) {
		if _, err := backup.Complete(s, events.BackupCompleted{Attempt: at.state.Attempt}); err != nil {
			return nil, err
		}
		return nil, events.ErrNoChange
	})
	return errors.Is(err, events.ErrFenced)
}
