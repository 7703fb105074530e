package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/holdfast-dev/holdfast/events"
)

// State implements [events.Feed].
func (l *Log) State(ctx context.Context) (events.LogState, error) {
	s, err := l.b.js.Stream(ctx, streamEvents)
	if err != nil {
		return events.LogState{}, unavailable(err)
	}
	return stateOf(s.CachedInfo()), nil // fresh: js.Stream has just asked for it
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
	closed := cc.Closed() // each call of it starts a goroutine
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-closed:
			return fmt.Errorf("%w: consumer of the log closed", events.ErrUnavailable)
		case <-lost: //nolint:errcheck // heartbeats missed: the consumer resumes by itself
		case m := <-msgs:
			envs, err := drain(m, msgs, after)
			if len(envs) > 0 {
				if err := f(envs); err != nil {
					return err
				}
				after = envs[len(envs)-1].Revision
			}
			if err != nil {
				return err
			}
		}
	}
}

// drain decodes m and what waits behind it, up to a revision that is missing.
func drain(m jetstream.Msg, msgs <-chan jetstream.Msg, after events.Revision) ([]events.Envelope, error) {
	var envs []events.Envelope
	for {
		env, err := decode(m)
		if err != nil {
			return envs, err
		}
		if env.Revision != after+1 {
			return envs, &events.DamageError{Gap: events.Gap{First: after + 1, Last: env.Revision - 1}}
		}
		envs, after = append(envs, env), env.Revision
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
