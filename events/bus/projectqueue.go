package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// projectQueue is what waits for one project.
type projectQueue struct {
	d    *dispatcher
	name string // of the project
	c    jetstream.Consumer
	used time.Time // when the consumer last answered

	// Guarded by the dispatcher.
	waiting bool      // it may have a message
	since   time.Time // when it was first told of
	due     time.Time // when it may have one
	served  time.Time // when it had the last one
	misses  int       // fetches since somebody said that something is there
}

const (
	projectPending  = 256             // messages of a project that are being handled at a time, or come again
	projectInactive = 5 * time.Minute // a consumer that nobody uses is removed; deliveries that are alive keep it

	notUnique jetstream.ErrorCode = 10100 // another consumer of the work queue takes the same messages
)

// consumerName is unambiguous: services and verbs have no dash, pools and projects no
// equals sign.
func (p *projectQueue) consumerName() string { return p.d.q.cfg.Name + "=" + p.name }

// before reports whether it is the turn of p rather than that of q.
func (p *projectQueue) before(q *projectQueue) bool {
	if p.served.Equal(q.served) { // never
		return p.since.Before(q.since)
	}
	return p.served.Before(q.served)
}

// fetch returns the next message, or nil if there is none.
func (p *projectQueue) fetch(ctx context.Context) (m jetstream.Msg, err error) {
	defer func() {
		if ctx.Err() == nil {
			p.d.q.b.consumerState(p.consumerName(), err)
		}
	}()
	for range 2 {
		if p.c == nil {
			if err := p.open(ctx); err != nil {
				return nil, err
			}
		}
		b, err := p.c.FetchNoWait(1)
		if err == nil {
			for got := range b.Messages() {
				m = got
			}
			err = b.Error()
		}
		switch {
		case err == nil: // also if there is no message
			p.used = time.Now()
			return m, nil
		case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrConsumerDeleted), errors.Is(err, jetstream.ErrConsumerNotFound):
			if time.Since(p.used) < projectInactive {
				p.d.say("consumer "+p.consumerName()+" is gone; it is made again", p.name, err)
			}
			p.c = nil
			continue
		}
		return nil, err
	}
	return nil, fmt.Errorf("consumer %s: %w", p.consumerName(), nats.ErrNoResponders)
}

// open creates the consumer, or takes over the one that is there.
func (p *projectQueue) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, consumerTime)
	defer cancel()
	cfg, stream := p.d.q.cfg, p.d.q.cfg.Stream
	c, err := p.d.q.b.js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: p.consumerName(), FilterSubjects: cfg.subjects(p.d.before + p.name + p.d.behind), AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: cfg.AckWait, MaxAckPending: projectPending, MaxDeliver: -1, InactiveThreshold: projectInactive,
	})
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == notUnique {
		// A version that had one consumer for all projects has left it behind.
		err = errors.Join(err, p.d.q.b.js.DeleteConsumer(ctx, stream, cfg.Name))
	}
	if err != nil {
		return fmt.Errorf("consumer %s: %w", p.consumerName(), err)
	}
	p.c = c
	return nil
}
