package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wm "github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// headerUUID carries Watermill's UUID of a message. It is not the Nats-Msg-Id,
// since one message may go to several topics.
const headerUUID = "Watermill-Uuid"

// Where a handler finds the subject and the stream sequence of a received message.
const (
	metaSubject  = "holdfast_subject"
	metaSequence = "holdfast_sequence"
)

const (
	retryWait   = time.Second
	sendTimeout = 3 * time.Second  // of a message that somebody waits to have sent
	fetchWait   = 30 * time.Second // of one request; shutting down does not wait for it
	ackTimeout  = 10 * time.Second

	fetchHeartbeat = 3 * time.Second // of the server; a request that it has forgotten is noticed after two

	handlerGrace = 10 * time.Second // between the end of a handler's context and giving it up
)

// Publisher is a Watermill publisher on JetStream. The topic is the subject. A
// message with the UUID of one that its stream has already taken within its
// duplicate window is dropped.
type Publisher struct{ b *Bus }

// Publish returns when the stream has stored the messages.
func (p *Publisher) Publish(topic string, msgs ...*wm.Message) error {
	for _, m := range msgs {
		if err := p.b.connected(m.Context()); err != nil {
			return fmt.Errorf("publish to %s: %w", topic, err)
		}
		out := nats.NewMsg(topic)
		out.Data = m.Payload
		for k, v := range m.Metadata {
			out.Header.Set(k, v)
		}
		out.Header.Set(headerUUID, m.UUID)
		ctx, cancel := context.WithTimeout(m.Context(), sendTimeout)
		_, err := p.b.js.PublishMsg(ctx, out, jetstream.WithMsgID(topic+"/"+m.UUID))
		cancel()
		if p.b.storedFor(m.Context(), err); err != nil {
			return fmt.Errorf("publish to %s: %w", topic, unavailable(err))
		}
	}
	return nil
}

// Close does nothing: the connection belongs to the Bus.
func (*Publisher) Close() error { return nil }

// SubscriberConfig says how a [Subscriber] takes messages.
type SubscriberConfig struct {
	Stream   string
	Consumer func(topic string) jetstream.ConsumerConfig // durable name, filter, AckWait
	Slots    int                                         // handlers at a time; default 1
	Resume   bool                                        // a consumer that was deleted goes on where it was; otherwise it begins anew
	// Begins identifies what a consumer was made for; one that was made for something
	// else begins anew. May be nil.
	Begins   func(ctx context.Context) (string, error)
	State    func(consumer string, err error) // is told why a consumer cannot be used, and with nil that it can; may be nil
	NakDelay func(failures int) time.Duration // before a refused message comes again; default 1 s doubling to 1 min
	Drain    time.Duration                    // how long handlers may go on after Close; default 0
	Logger   watermill.LoggerAdapter
}

// Subscriber is a Watermill subscriber on JetStream for handlers that may run
// for hours. See the package comment.
type Subscriber struct {
	js  jetstream.JetStream
	cfg SubscriberConfig
	to  deliverer
	subscriptions
}

// subscriptions lets go of what a subscriber has open.
type subscriptions struct {
	closed chan struct{}

	mu   sync.Mutex
	shut bool
	open sync.WaitGroup
}

// NewSubscriber returns a subscriber. Close it to end its subscriptions.
func NewSubscriber(js jetstream.JetStream, cfg SubscriberConfig) *Subscriber {
	cfg.Slots = max(1, cfg.Slots)
	if cfg.Logger == nil {
		cfg.Logger = watermill.NopLogger{}
	}
	if cfg.NakDelay == nil {
		cfg.NakDelay = backOff
	}
	return &Subscriber{js: js, cfg: cfg, to: deliverer{nakDelay: cfg.NakDelay, drain: cfg.Drain, log: cfg.Logger}, subscriptions: subscriptions{closed: make(chan struct{})}}
}

// Close stops fetching, lets running handlers end within Drain, then cancels
// their context, and returns when all channels are closed. What a handler has not
// answered 10 s later is given to the next subscriber.
func (s *subscriptions) Close() error {
	s.mu.Lock()
	if !s.shut {
		s.shut = true
		close(s.closed)
	}
	s.mu.Unlock()
	s.open.Wait()
	return nil
}

// Subscribe creates the topic's consumer, for which it waits as long as the server
// cannot, and fetches from it until ctx ends or the subscriber is closed. Then the
// channel is closed.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *wm.Message, error) {
	if !s.enter() {
		return nil, errors.New("bus: subscriber is closed")
	}
	n := &subscription{s: s, cfg: s.cfg.Consumer(topic)}
	if err := n.openPatiently(ctx); err != nil {
		s.open.Done()
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan *wm.Message)
	var slots sync.WaitGroup
	slots.Go(func() { n.watch(ctx) })
	for range s.cfg.Slots {
		slots.Go(func() { s.fetch(ctx, n, out) })
	}
	go func() {
		s.ended(ctx)
		cancel()
		slots.Wait()
		close(out) // only now: no sender is left
		s.open.Done()
	}()
	return out, nil
}

// ended returns when ctx has ended or the subscriber is closed.
func (s *subscriptions) ended(ctx context.Context) {
	select {
	case <-s.closed:
	case <-ctx.Done():
	}
}

// enter counts a subscription in, unless the subscriber is closed.
func (s *subscriptions) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.shut {
		s.open.Add(1)
	}
	return !s.shut
}

// fetch is one slot: it asks for a message only when it is free.
func (s *Subscriber) fetch(ctx context.Context, n *subscription, out chan<- *wm.Message) {
	for ctx.Err() == nil {
		c := n.consumer()
		fctx, cancel := context.WithTimeout(ctx, fetchWait)
		b, err := c.Fetch(1, jetstream.FetchContext(fctx), jetstream.FetchHeartbeat(fetchHeartbeat))
		if err == nil {
			for m := range b.Messages() {
				o := s.to.deliver(ctx, m, c.CachedInfo().Config.AckWait, out)
				if s.cfg.Resume {
					n.passed(ctx, m, o)
				}
			}
			err = b.Error()
		}
		cancel()
		if err != nil {
			n.failed(ctx, err)
		}
	}
}

func (s *Subscriber) state(consumer string, err error) {
	if s.cfg.State != nil {
		s.cfg.State(consumer, err)
	}
}
