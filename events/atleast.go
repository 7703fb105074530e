package events

import (
	"context"
	"errors"
	"iter"
)

// AtLeast returns log with the knowledge that a has an event of revision r, such as
// the one that a handler was given. Reading a, to its end or its last event, returns
// [ErrBehind] when it does not get as far as r.
func AtLeast(log Log, a Aggregate, r Revision) Log {
	return atLeast{log, a, r}
}

type atLeast struct {
	Log
	a Aggregate
	r Revision
}

// Read implements [Log].
func (l atLeast) Read(ctx context.Context, a Aggregate, after Revision) iter.Seq2[Envelope, error] {
	return func(yield func(Envelope, error) bool) {
		last := after
		for env, err := range l.Log.Read(ctx, a, after) {
			if !yield(env, err) || err != nil {
				return
			}
			last = env.Revision
		}
		if a == l.a && last < l.r {
			yield(Envelope{}, ErrBehind)
		}
	}
}

// Last implements [Log].
func (l atLeast) Last(ctx context.Context, a Aggregate) (Envelope, error) {
	env, err := l.Log.Last(ctx, a)
	if a == l.a && (err == nil || errors.Is(err, ErrNoEvent)) && env.Revision < l.r {
		return Envelope{}, ErrBehind
	}
	return env, err
}
