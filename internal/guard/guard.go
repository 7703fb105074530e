// Package guard watches over long work: it ends work in which nothing moves, and
// work that another attempt has taken over, and leaves behind what does not end even
// then, such as a write to a dead network file system.
package guard

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// ErrStalled is the cause with which work ends in which nothing moves.
var ErrStalled = errors.New("stalled")

// GiveUp is how long work may take to return after its context has ended.
const GiveUp = 30 * time.Second

const (
	tick       = time.Second
	fenceCheck = 3 * time.Second // what was cancelled shall stop within 5 s
)

// Watch says what is watched.
type Watch struct {
	// Look is called once a second. It returns what the work is at, for people, and
	// whether something has moved since the last call.
	Look func(ctx context.Context) (phase string, moved bool)
	// Stall is how long nothing may move; 0: for ever.
	Stall time.Duration
	// Fenced is called every three seconds and returns the error with which the work
	// shall end because another attempt has taken over, or nil.
	Fenced func(ctx context.Context) error
}

// Run does work and watches. It returns what work returns; ErrStalled or the error of
// Fenced when that is what has ended it; an error when it panics; and ctx's error when
// ctx has ended and work has not returned after GiveUp.
func Run[T any](ctx context.Context, w Watch, work func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	type result struct {
		out T
		err error
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
		r.out, r.err = work(ctx)
	}()
	var watching sync.WaitGroup
	watching.Go(func() { w.watch(ctx, cancel) })
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
			return r.out, r.err
		case <-over:
			over, gone = nil, time.After(GiveUp)
		case <-gone:
			var none T
			return none, context.Cause(ctx)
		}
	}
}

// watch runs until ctx ends, which it may bring about.
func (w Watch) watch(ctx context.Context, end context.CancelCauseFunc) {
	t := time.NewTicker(tick)
	defer t.Stop()
	moved, checked := time.Now(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		phase, moves := w.Look(ctx)
		if moves {
			moved = time.Now()
		}
		if w.Stall > 0 && time.Since(moved) > w.Stall {
			end(fmt.Errorf("%w: nothing moved for %s in the phase %s", ErrStalled, w.Stall, phase))
			return
		}
		if time.Since(checked) > fenceCheck {
			checked = time.Now()
			if err := w.Fenced(ctx); err != nil {
				end(err)
				return
			}
		}
	}
}
