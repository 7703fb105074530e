// Package eventstest helps to test code that uses package events: a log in
// memory and the conformance suite for logs.
package eventstest

import (
	"context"
	"iter"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/events"
)

// Log is an [events.Log] and an [events.Feed] in memory. Its zero value is an
// empty log.
type Log struct {
	Name string // the identity of the log

	mu   sync.Mutex
	all  []events.Envelope
	lost map[events.Revision]bool
}

// Lose lets the log have lost an event.
func (l *Log) Lose(r events.Revision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost == nil {
		l.lost = map[events.Revision]bool{}
	}
	l.lost[r] = true
}

// Put appends an event as it is, a broken one for example, apart from its revision.
func (l *Log) Put(env events.Envelope) events.Envelope {
	l.mu.Lock()
	defer l.mu.Unlock()
	env.Revision = events.Revision(len(l.all) + 1)
	l.all = append(l.all, env)
	return env
}

// Append implements [events.Log].
func (l *Log) Append(_ context.Context, a events.Aggregate, expected events.Revision, e events.Event, c events.Cause) (events.Envelope, error) {
	if err := a.Validate(); err != nil {
		return events.Envelope{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, _ := l.last(a); last.Revision != expected {
		return events.Envelope{}, events.ErrConflict
	}
	rev := events.Revision(len(l.all) + 1)
	env := events.Envelope{ID: "e" + strconv.Itoa(int(rev)), Aggregate: a, Revision: rev, Time: time.Now().UTC(), Cause: c, Event: e}
	l.all = append(l.all, env)
	return env, nil
}

// Read implements [events.Log].
func (l *Log) Read(_ context.Context, a events.Aggregate, after events.Revision) iter.Seq2[events.Envelope, error] {
	return func(yield func(events.Envelope, error) bool) {
		for _, env := range l.All() {
			if env.Aggregate != a || env.Revision <= after {
				continue
			}
			var err error
			if b, ok := env.Event.(events.Broken); ok {
				err = b.Err
			}
			if !yield(env, err) || err != nil {
				return
			}
		}
	}
}

// Last implements [events.Log].
func (l *Log) Last(_ context.Context, a events.Aggregate) (events.Envelope, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if env, ok := l.last(a); ok {
		return env, nil
	}
	return events.Envelope{}, events.ErrNoEvent
}

// State implements [events.Feed].
func (l *Log) State(context.Context) (events.LogState, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return events.LogState{Identity: l.Name, Last: events.Revision(len(l.all))}, nil
}

// Follow implements [events.Feed]. It looks for new events every millisecond.
func (l *Log) Follow(ctx context.Context, after events.Revision, f func([]events.Envelope) error) error {
	for {
		batch, gap := l.next(after)
		if len(batch) > 0 {
			if err := f(batch); err != nil {
				return err
			}
			after = batch[len(batch)-1].Revision
		}
		if gap != nil {
			return gap
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// next returns the events after a revision up to the first that is missing.
func (l *Log) next(after events.Revision) (batch []events.Envelope, gap error) {
	for _, env := range l.All() {
		if env.Revision <= after {
			continue
		}
		if env.Revision != after+1 {
			return batch, &events.DamageError{Gap: events.Gap{First: after + 1, Last: env.Revision - 1}}
		}
		batch, after = append(batch, env), env.Revision
	}
	return batch, nil
}

// All returns every event of every aggregate, oldest first, without those that are lost.
func (l *Log) All() []events.Envelope {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.all), func(env events.Envelope) bool { return l.lost[env.Revision] })
}

func (l *Log) last(a events.Aggregate) (events.Envelope, bool) {
	var newest events.Envelope // what is broken, if nothing else is there
	for _, env := range slices.Backward(l.all) {
		if env.Aggregate != a || l.lost[env.Revision] {
			continue
		}
		if newest.Revision == 0 {
			newest = env
		}
		if _, broken := env.Event.(events.Broken); !broken {
			env.Revision = newest.Revision
			return env, true
		}
	}
	return newest, newest.Revision != 0
}
