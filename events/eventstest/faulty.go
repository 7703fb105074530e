package eventstest

import (
	"context"
	"fmt"
	"iter"
	"math"
	"sync/atomic"

	"github.com/holdfast-dev/holdfast/events"
)

// Fault is a way in which reading a log goes wrong.
type Fault int32

// Faults.
const (
	None     Fault = iota
	TimesOut       // no answer comes
	Cut            // the answer breaks off
	Behind         // the answer is older than what was written, and nothing says so
)

// Faults returns all of them, without None.
func Faults() []Fault { return []Fault{TimesOut, Cut, Behind} }

// String names the fault.
func (f Fault) String() string {
	return [...]string{"None", "TimesOut", "Cut", "Behind"}[f]
}

// Faulty is a log whose reads go wrong when it is told so. It appends as before, but
// can keep the acknowledgement.
type Faulty struct {
	*Log
	fault atomic.Int32
	reads atomic.Int64 // how many still go wrong
	acks  atomic.Int64 // how many are still lost
}

// NewFaulty returns a log that is sound at first.
func NewFaulty(log *Log) *Faulty { return &Faulty{Log: log} }

// Set chooses what goes wrong from now on.
func (l *Faulty) Set(f Fault) { l.SetFor(f, math.MaxInt64) }

// SetFor chooses what goes wrong in the next n reads.
func (l *Faulty) SetFor(f Fault, n int64) {
	l.fault.Store(int32(f))
	l.reads.Store(n)
}

// LoseAcks lets the next n appends succeed and return ErrUnavailable.
func (l *Faulty) LoseAcks(n int64) { l.acks.Store(n) }

// Append implements [events.Log].
func (l *Faulty) Append(ctx context.Context, a events.Aggregate, expected events.Revision, e events.Event, c events.Cause) (events.Envelope, error) {
	env, err := l.Log.Append(ctx, a, expected, e, c)
	if err == nil && l.acks.Add(-1) >= 0 {
		err = fmt.Errorf("%w: the acknowledgement was lost", events.ErrUnavailable)
	}
	return env, err
}

// known returns how many of the n events of an aggregate a read still shows, and
// with which error it ends.
func (l *Faulty) known(n int) (int, error) {
	f := Fault(l.fault.Load())
	if f != None && l.reads.Add(-1) < 0 {
		f = None
	}
	switch f {
	case TimesOut:
		return 0, fmt.Errorf("%w: no answer", events.ErrUnavailable)
	case Cut:
		return n / 2, fmt.Errorf("%w: broken off", events.ErrUnavailable)
	case Behind:
		return n / 2, nil
	case None:
	}
	return n, nil
}

func (l *Faulty) history(a events.Aggregate) (all []events.Envelope) {
	for _, env := range l.All() {
		if env.Aggregate == a {
			all = append(all, env)
		}
	}
	return all
}

// Read implements [events.Log].
func (l *Faulty) Read(_ context.Context, a events.Aggregate, after events.Revision) iter.Seq2[events.Envelope, error] {
	return func(yield func(events.Envelope, error) bool) {
		all := l.history(a)
		n, err := l.known(len(all))
		for _, env := range all[:n] {
			if env.Revision > after && !yield(env, nil) {
				return
			}
		}
		if err != nil {
			yield(events.Envelope{}, err)
		}
	}
}

// Last implements [events.Log].
func (l *Faulty) Last(_ context.Context, a events.Aggregate) (events.Envelope, error) {
	all := l.history(a)
	n, err := l.known(len(all))
	switch {
	case err != nil:
		return events.Envelope{}, err
	case n == 0:
		return events.Envelope{}, events.ErrNoEvent
	}
	return all[n-1], nil
}
