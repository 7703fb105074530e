package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/holdfast-dev/holdfast/events"
)

// Log is the [events.Log] and [events.Feed] on JetStream.
type Log struct {
	b      *Bus
	repair bool // also when the log is damaged
}

// Log returns the log of the bus. Append returns a [*events.DamageError] while the log
// is damaged.
func (b *Bus) Log() *Log { return &Log{b: b} }

// RepairLog returns the log of the bus for what brings a damaged log back into order.
func (b *Bus) RepairLog() *Log { return &Log{b: b, repair: true} }

const eventPrefix = "holdfast.evt."

const (
	publishTimeout = 2 * time.Second  // of one try; what it has stored after that is found by its id
	appendTimeout  = 30 * time.Second // of all tries; a cluster elects a new leader in about 7 s
)

// Error codes of the JetStream API.
const (
	wrongLastSequence         jetstream.ErrorCode = 10071
	wrongLastSequenceConstant jetstream.ErrorCode = 10164 // another append is in flight, its outcome unknown
)

// Append implements [events.Log].
func (l *Log) Append(ctx context.Context, a events.Aggregate, expected events.Revision, e events.Event, c events.Cause) (events.Envelope, error) {
	if err := a.Validate(); err != nil {
		return events.Envelope{}, err
	}
	if d := l.b.Damage(); d != nil && !l.repair {
		return events.Envelope{}, d
	}
	if err := l.b.suspected(); err != nil {
		return events.Envelope{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return events.Envelope{}, fmt.Errorf("event id: %w", err)
	}
	env := events.Envelope{ID: id.String(), Aggregate: a, Time: time.Now().UTC(), Cause: c, Event: e}
	m, err := message(env)
	if err != nil {
		return env, err
	}
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	for try := 1; ; try++ {
		rev, err := l.publish(ctx, m, expected, env)
		if err == nil || errors.Is(err, events.ErrConflict) {
			env.Revision = rev
			return env, err
		}
		if !sleep(ctx, min(time.Duration(try)*100*time.Millisecond, time.Second)) {
			return env, fmt.Errorf("%w: %w", events.ErrUnavailable, err)
		}
	}
}

// message returns the event as a NATS message, without expectations.
func message(env events.Envelope) (*nats.Msg, error) {
	headers, data, err := events.Marshal(env)
	if err != nil {
		return nil, err
	}
	m := nats.NewMsg(eventPrefix + env.Aggregate.String() + "." + events.Name(env.Event.EventType()))
	for k, v := range headers {
		m.Header.Set(k, v)
	}
	m.Data = data
	return m, nil
}

// publish tries once. Its errors other than ErrConflict leave the outcome open.
func (l *Log) publish(ctx context.Context, m *nats.Msg, expected events.Revision, env events.Envelope) (events.Revision, error) {
	pctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	ack, err := l.b.js.PublishMsg(pctx, m, jetstream.WithMsgID(env.ID), jetstream.WithRetryAttempts(0),
		jetstream.WithExpectLastSequenceForSubject(uint64(expected), filter(env.Aggregate)))
	if err == nil {
		l.b.stored(nil)
		// The id is new with each Append, so a duplicate can only be our own
		// earlier try, which lies above what we expected.
		if events.Revision(ack.Sequence) > expected {
			return events.Revision(ack.Sequence), nil
		}
		return 0, events.ErrConflict
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) || api.ErrorCode != wrongLastSequence && api.ErrorCode != wrongLastSequenceConstant {
		l.b.storedFor(ctx, err)
		return 0, err
	}
	// Somebody wrote after expected. Was it an earlier try of ours, whose
	// acknowledgement was lost?
	for got, rerr := range l.Read(ctx, env.Aggregate, expected) {
		if rerr != nil {
			return 0, rerr
		}
		if got.ID == env.ID {
			return got.Revision, nil
		}
		return 0, events.ErrConflict
	}
	if api.ErrorCode == wrongLastSequence {
		return 0, events.ErrConflict // expected lies above the end, or a replica is behind
	}
	return 0, err
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", events.ErrUnavailable, err) }

// sleep waits for d and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
