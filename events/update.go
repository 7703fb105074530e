package events

import (
	"context"
	"errors"
	"fmt"
)

// State is the write-side state of an aggregate: the fold of its events.
type State[S any] interface {
	// Apply returns the state after e. It cannot fail: facts are not refused.
	Apply(e Envelope) S
}

// With twelve writers on one aggregate a decision is repeated at most as often
// as there are others; past this many the caller should hear about it.
const maxTries = 64

// Update lets decide choose the next event of a from its current state and
// appends it, deciding again when another writer was faster. It passes on what
// decide returns as an error, [ErrNoChange] included.
func Update[S State[S]](ctx context.Context, log Log, a Aggregate, c Cause, decide func(S) (Event, error)) (Envelope, error) {
	return update(ctx, log, a, c, decide, func() (state S, last Revision, err error) {
		for env, err := range log.Read(ctx, a, 0) {
			if err != nil {
				return state, 0, fmt.Errorf("read %s: %w", a, err)
			}
			state, last = state.Apply(env), env.Revision
		}
		return state, last, nil
	})
}

// UpdateLast is Update for aggregates whose every event carries the whole state,
// such as slots: it reads only the newest one.
func UpdateLast[S State[S]](ctx context.Context, log Log, a Aggregate, c Cause, decide func(S) (Event, error)) (Envelope, error) {
	return update(ctx, log, a, c, decide, func() (state S, last Revision, err error) {
		env, err := log.Last(ctx, a)
		switch {
		case errors.Is(err, ErrNoEvent):
			return state, 0, nil
		case err != nil:
			return state, 0, fmt.Errorf("read %s: %w", a, err)
		}
		return state.Apply(env), env.Revision, nil
	})
}

func update[S any](ctx context.Context, log Log, a Aggregate, c Cause, decide func(S) (Event, error), read func() (S, Revision, error)) (Envelope, error) {
	for range maxTries {
		state, last, err := read()
		if err != nil {
			return Envelope{}, err
		}
		next, err := decide(state)
		if err != nil {
			return Envelope{}, err
		}
		env, err := log.Append(ctx, a, last, next, c)
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return Envelope{}, fmt.Errorf("append %s to %s: %w", next.EventType(), a, err)
		}
		return env, nil
	}
	return Envelope{}, fmt.Errorf("update %s: %w", a, ErrConflict)
}
