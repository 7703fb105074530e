package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/holdfast-dev/holdfast/events"
)

// State implements [events.Feed].
func (l *Log) State(ctx context.Context) (events.LogState, error) {
	s, err := l.b.js.Stream(ctx, streamEvents)
	if err != nil {
		return events.LogState{}, unavailable(err)
	}
	i := s.CachedInfo() // fresh: js.Stream has just asked for it
	return events.LogState{Identity: i.Created.UTC().Format(time.RFC3339Nano), Last: events.Revision(i.State.LastSeq)}, nil
}

const (
	pullBatch = 2000   // measured: the fastest for an ordered consumer
	maxBatch  = 10_000 // events given to f at once
)

// Follow implements [events.Feed].
func (l *Log) Follow(ctx context.Context, after events.Revision, f func([]events.Envelope) error) error {
	ctx, cancel := context.WithCancel(ctx) // frees the callback below when f has failed
	defer cancel()
	c, err := l.b.js.OrderedConsumer(ctx, streamEvents, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: uint64(after) + 1,
	})
	if err != nil {
		return unavailable(err)
	}
	// Consume is the fast way to replay; the channel turns its callback into
	// batches and holds it back when f is slow.
	msgs, lost := make(chan jetstream.Msg, maxBatch), make(chan error, 1)
	cc, err := c.Consume(func(m jetstream.Msg) {
		select {
		case msgs <- m:
		case <-ctx.Done():
		}
	}, jetstream.PullMaxMessages(pullBatch), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		if errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrOrderedConsumerReset) {
			return // it is made again from where it was
		}
		select {
		case lost <- err:
		default:
		}
	}))
	if err != nil {
		return unavailable(err)
	}
	defer cc.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-cc.Closed():
			return fmt.Errorf("%w: consumer of the log closed", events.ErrUnavailable)
		case <-lost: //nolint:errcheck // heartbeats missed: the consumer resumes by itself
		case m := <-msgs:
			envs, err := drain(m, msgs)
			if err != nil {
				return err
			}
			if err := f(envs); err != nil {
				return err
			}
		}
	}
}

// drain decodes m and what waits behind it.
func drain(m jetstream.Msg, msgs <-chan jetstream.Msg) ([]events.Envelope, error) {
	var envs []events.Envelope
	for {
		env, err := decode(m)
		if err != nil {
			return nil, err
		}
		envs = append(envs, env)
		if len(envs) == maxBatch {
			return envs, nil
		}
		select {
		case m = <-msgs:
		default:
			return envs, nil
		}
	}
}

func decode(m jetstream.Msg) (events.Envelope, error) {
	md, err := m.Metadata()
	if err != nil {
		return events.Envelope{}, fmt.Errorf("event on %s: %w", m.Subject(), err)
	}
	a, err := aggregate(m.Subject())
	if err != nil {
		return events.Envelope{}, err
	}
	return events.Unmarshal(a, events.Revision(md.Sequence.Stream), m.Headers().Get, m.Data())
}
