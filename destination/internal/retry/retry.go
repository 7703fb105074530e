// Package retry calls a destination again when it has failed for a reason that may
// pass. Every call has a deadline.
package retry

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
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

// Decision is what a driver makes of an error.
type Decision struct {
	Again bool          // the call may be repeated
	After time.Duration // not sooner, as the destination wishes; 0: it has no wish
}

// Do calls f, with a deadline, until it returns nil, until retryable says that it is
// of no use, or until the tries are used up. It returns the last error of f, or
// that of ctx. The context that f gets ends when f returns.
func (p Policy) Do(ctx context.Context, retryable func(error) Decision, f func(ctx context.Context) error) error {
	p = p.orDefault()
	w := &wait{ExponentialBackOff: backoff.NewExponentialBackOff()}
	w.InitialInterval, w.MaxInterval, w.Multiplier = p.Wait, maxWait, 2
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := p.call(ctx, f)
		if err == nil {
			return struct{}{}, nil
		}
		d := retryable(err)
		if !d.Again && !errors.Is(err, context.DeadlineExceeded) { // a deadline is this call's own
			err = backoff.Permanent(err)
		}
		w.after = d.After
		return struct{}{}, err
	}, backoff.WithBackOff(w), backoff.WithMaxTries(uint(p.Tries)), backoff.WithMaxElapsedTime(0))
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if permanent, ok := errors.AsType[*backoff.PermanentError](err); ok { // of the last try
		return permanent.Unwrap()
	}
	return err
}

// wait is a [backoff.BackOff] that heeds what the destination asks for.
type wait struct {
	*backoff.ExponentialBackOff
	after time.Duration
}

// NextBackOff implements [backoff.BackOff].
func (w *wait) NextBackOff() time.Duration {
	return min(max(w.ExponentialBackOff.NextBackOff(), w.after), maxWait)
}

func (p Policy) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	return f(ctx)
}
