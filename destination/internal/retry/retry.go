// Package retry calls a destination again when it has failed for a reason that may
// pass. Every call has a deadline.
package retry

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Policy says how often and for how long. The zero Policy is the default.
type Policy struct {
	Tries   int           // in all; default 8
	Timeout time.Duration // of one call; default 2 minutes
	Wait    time.Duration // after the first failure; it doubles each time; default 200 ms
}

// maxWait is the longest wait, also when the destination asks for more.
const maxWait = 20 * time.Second

func (p Policy) orDefault() Policy {
	if p.Tries == 0 {
		p.Tries = 8
	}
	if p.Timeout == 0 {
		p.Timeout = 2 * time.Minute
	}
	if p.Wait == 0 {
		p.Wait = 200 * time.Millisecond
	}
	return p
}

// Verdict is what a driver makes of an error.
type Verdict struct {
	Again bool          // the call may be repeated
	After time.Duration // not sooner, as the destination wishes; 0: it has no wish
}

// Do calls f, with a deadline, until it returns nil, until judge says that it is
// of no use, or until the tries are used up. It returns the last error of f, or
// that of ctx. The context that f gets ends when f returns.
func (p Policy) Do(ctx context.Context, judge func(error) Verdict, f func(ctx context.Context) error) error {
	p = p.orDefault()
	for try := 1; ; try++ {
		err := p.call(ctx, f)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		v := judge(err)
		if errors.Is(err, context.DeadlineExceeded) {
			v.Again = true // this call's own
		}
		if !v.Again || try >= p.Tries {
			return err
		}
		wait := min(p.Wait<<(try-1), maxWait)
		wait = wait/2 + rand.N(wait/2+1) //nolint:gosec // spreads calls, and is no secret
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(max(wait, v.After), maxWait)):
		}
	}
}

func (p Policy) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	return f(ctx)
}
