package eventstest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
)

// TestLog checks every promise of [events.Log] against a log that open returns
// empty.
func TestLog(t *testing.T, open func(t *testing.T) events.Log) {
	t.Helper()
	a, other := events.BackupAggregate("p", "backup-a"), events.BackupAggregate("p", "backup-ab")
	cause := events.Cause{CorrelationID: "c", CausationID: "d", Actor: "key:x"}

	t.Run("AppendedEventsAreReadBack", func(t *testing.T) {
		log, ctx := open(t), t.Context()
		one := mustAppend(t, log, a, 0, events.BackupRequested{Type: "full"}, cause)
		mustAppend(t, log, other, 0, events.BackupRequested{Type: "config"}, cause)
		two := mustAppend(t, log, a, one.Revision, events.BackupStarted{Attempt: 1}, cause)
		if one.ID == "" || one.ID == two.ID || one.Time.IsZero() || two.Revision <= one.Revision {
			t.Errorf("bad envelopes %+v, %+v", one, two)
		}
		if got, want := collect(ctx, t, log, a, 0), []events.Envelope{one, two}; !equal(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if got, want := collect(ctx, t, log, a, one.Revision), []events.Envelope{two}; !equal(got, want) {
			t.Errorf("after %d: got %+v, want %+v", one.Revision, got, want)
		}
	})
	t.Run("ReadCanBeLeftEarly", func(t *testing.T) {
		log := open(t)
		last := events.Revision(0)
		for i := range 5 {
			last = mustAppend(t, log, a, last, events.BackupStarted{Attempt: i % events.MaxAttempt}, cause).Revision
		}
		for range log.Read(t.Context(), a, 0) {
			break
		}
		if n := len(collect(t.Context(), t, log, a, 0)); n != 5 {
			t.Errorf("got %d events, want 5", n)
		}
	})
	t.Run("LongAggregateIsReadWhole", func(t *testing.T) {
		log := open(t)
		last := events.Revision(0)
		const n = 1100 // more than one batch of any log
		for i := range n {
			last = mustAppend(t, log, a, last, events.BackupStarted{Attempt: i % events.MaxAttempt}, cause).Revision
		}
		got := collect(t.Context(), t, log, a, 0)
		if len(got) != n || got[n-1].Event != (events.BackupStarted{Attempt: (n - 1) % events.MaxAttempt}) {
			t.Errorf("got %d events, want %d in order", len(got), n)
		}
	})
	t.Run("LastIsTheNewest", func(t *testing.T) {
		log, ctx := open(t), t.Context()
		if _, err := log.Last(ctx, a); !errors.Is(err, events.ErrNoEvent) {
			t.Errorf("empty: got %v, want ErrNoEvent", err)
		}
		one := mustAppend(t, log, a, 0, events.BackupHeld{}, cause)
		two := mustAppend(t, log, a, one.Revision, events.BackupReleased{}, cause)
		mustAppend(t, log, other, 0, events.BackupHeld{}, cause)
		if got, err := log.Last(ctx, a); err != nil || got.Revision != two.Revision {
			t.Errorf("got %+v, %v; want revision %d", got, err, two.Revision)
		}
	})
	t.Run("WrongRevisionIsAConflict", func(t *testing.T) {
		log, ctx := open(t), t.Context()
		one := mustAppend(t, log, a, 0, events.BackupHeld{}, cause)
		for _, wrong := range []events.Revision{0, one.Revision + 1} {
			if _, err := log.Append(ctx, a, wrong, events.BackupReleased{}, cause); !errors.Is(err, events.ErrConflict) {
				t.Errorf("expected %d: got %v, want ErrConflict", wrong, err)
			}
		}
	})
	t.Run("AnAggregateMayRepeatAFact", func(t *testing.T) {
		log := open(t)
		last := events.Revision(0)
		for i := range 6 {
			var e events.Event = events.BackupHeld{}
			if i%2 == 1 {
				e = events.BackupReleased{}
			}
			last = mustAppend(t, log, a, last, e, cause).Revision
		}
		if n := len(collect(t.Context(), t, log, a, 0)); n != 6 {
			t.Errorf("got %d events, want 6", n)
		}
	})
	t.Run("BadTokensAreRefused", func(t *testing.T) {
		log := open(t)
		for _, bad := range []events.Aggregate{{Project: "a.b", Kind: "backup", ID: "x"}, {Project: "p", Kind: "backup", ID: "*"}, {Project: "p", Kind: "", ID: "x"}} {
			if _, err := log.Append(t.Context(), bad, 0, events.BackupHeld{}, cause); err == nil {
				t.Errorf("%v was accepted", bad)
			}
		}
	})
	t.Run("TwelveWritersLoseAndDoubleNothing", func(t *testing.T) { race(t, open(t)) })
}

// race lets twelve writers count up on one aggregate with Update.
func race(t *testing.T, log events.Log) {
	const writers, each = 12, 20
	a := events.BackupAggregate("race", "backup-race")
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range each {
				_, err := events.Update(t.Context(), log, a, events.Cause{}, func(s counter) (events.Event, error) {
					return events.BackupStarted{Attempt: int(s) + 1, Worker: strconv.Itoa(w)}, nil
				})
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
			}
		})
	}
	wg.Wait()
	got := collect(t.Context(), t, log, a, 0)
	for deadline := time.Now().Add(10 * time.Second); len(got) < writers*each && time.Now().Before(deadline); {
		got = collect(t.Context(), t, log, a, 0) // a replica may be behind for a moment
	}
	if len(got) != writers*each {
		t.Errorf("got %d events, want %d", len(got), writers*each)
	}
	for i, env := range got {
		if n := env.Event.(events.BackupStarted).Attempt; n != i+1 {
			t.Fatalf("event %d has number %d: decided on an old state", i+1, n)
		}
	}
}

type counter int

// Apply implements [events.State].
func (counter) Apply(e events.Envelope) counter {
	return counter(e.Event.(events.BackupStarted).Attempt)
}

func mustAppend(t *testing.T, log events.Log, a events.Aggregate, expected events.Revision, e events.Event, c events.Cause) events.Envelope {
	t.Helper()
	env, err := log.Append(t.Context(), a, expected, e, c)
	if err != nil {
		t.Fatalf("append %s: %v", e.EventType(), err)
	}
	return env
}

func collect(ctx context.Context, t *testing.T, log events.Log, a events.Aggregate, after events.Revision) (out []events.Envelope) {
	t.Helper()
	for env, err := range log.Read(ctx, a, after) {
		if err != nil {
			t.Fatalf("read %s: %v", a, err)
		}
		out = append(out, env)
	}
	return out
}

func equal(a, b []events.Envelope) bool {
	return slices.EqualFunc(a, b, func(x, y events.Envelope) bool {
		same := x.Time.Equal(y.Time)
		x.Time = y.Time
		return same && reflect.DeepEqual(x, y)
	})
}
