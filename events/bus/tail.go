package bus

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/holdfast-dev/holdfast/events"
)

// Tail tells who waits that an aggregate has got a new event. One consumer
// serves all who wait in a process.
type Tail struct {
	b *Bus

	mu      sync.Mutex
	waiting map[string]map[chan struct{}]bool // by aggregate
}

// NewTail returns a tail. It wakes nobody until [Tail.Run].
func (b *Bus) NewTail() *Tail { return &Tail{b: b, waiting: map[string]map[chan struct{}]bool{}} }

// Watch returns a channel that gets a value after each new event of a, several
// events at a time perhaps as one. An event may be missed while the server is
// away, so look again every few seconds. The caller must call stop.
func (t *Tail) Watch(a events.Aggregate) (changed <-chan struct{}, stop func()) {
	ch, key := make(chan struct{}, 1), a.String()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting[key] == nil {
		t.waiting[key] = map[chan struct{}]bool{}
	}
	t.waiting[key][ch] = true
	return ch, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.waiting[key], ch)
		if len(t.waiting[key]) == 0 {
			delete(t.waiting, key)
		}
	}
}

// Run wakes those who wait until ctx ends.
func (t *Tail) Run(ctx context.Context) error {
	var said notice
	for ctx.Err() == nil {
		if err := t.follow(ctx); err != nil && ctx.Err() == nil {
			if said.due(err.Error()) {
				t.b.log.Warn("tail of the event log: " + err.Error())
			}
			sleep(ctx, retryWait)
		}
	}
	return ctx.Err()
}

func (t *Tail) follow(ctx context.Context) error {
	c, err := t.b.js.OrderedConsumer(ctx, streamEvents, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy, HeadersOnly: true})
	if err != nil {
		return err
	}
	cc, err := c.Consume(func(m jetstream.Msg) {
		a, _, err := parseSubject(m.Subject())
		if err != nil {
			return
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		for ch := range t.waiting[a.String()] {
			select {
			case ch <- struct{}{}:
			default: // it has not looked yet
			}
		}
	})
	if err != nil {
		return err
	}
	defer cc.Stop()
	select {
	case <-ctx.Done():
	case <-cc.Closed():
	}
	return nil
}
