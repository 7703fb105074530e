package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	wm "github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
)

// Router gives events and commands to their handlers. Add the handlers, then
// call [Router.Run].
type Router struct {
	AckWait time.Duration // how soon after a crash another handler takes a command; set it before the handlers

	b      *Bus
	router *wm.Router
	reject Rejecter
}

// Rejecter is told of a command that was poisoned, so that who waits for it
// learns why.
type Rejecter func(ctx context.Context, about events.Aggregate, c events.Cause, err error) error

// NewRouter returns a router without handlers. reject may be nil if no commands
// are handled.
func (b *Bus) NewRouter(reject Rejecter) (*Router, error) {
	r, err := wm.NewRouter(wm.RouterConfig{CloseTimeout: 30 * time.Second}, b.watermill())
	if err != nil {
		return nil, err
	}
	r.AddMiddleware(middleware.CorrelationID, middleware.Recoverer)
	return &Router{AckWait: commandAckWait, b: b, router: r, reject: reject}, nil
}

// Run handles messages until ctx ends and all handlers have returned.
func (r *Router) Run(ctx context.Context) error { return r.router.Run(ctx) }

// EventSubscription says which events a handler gets.
type EventSubscription struct {
	Name    string        // durable: who subscribes again under it goes on where it was
	Kind    string        // such as events.KindBackup
	Event   string        // name of the event, such as "requested"
	Slots   int           // handlers at a time
	AckWait time.Duration // how soon after a crash another worker takes over
}

func (s EventSubscription) topic() string { return eventPrefix + "*." + s.Kind + ".*." + s.Event }

// HandleEvents gives every event of the subscription to h, on Slots goroutines, in the
// order of the log, whatever project it is about. h should not take long. When ctx of
// Run ends, the context of h ends at once.
func (r *Router) HandleEvents(s EventSubscription, h events.Handler) {
	const pending = 10_000 // naks with a delay hold a place
	r.subscribe(s, pending, nil, func(m *wm.Message) error {
		return r.handle(m, s.Name, m.Metadata.Get(metaSubject), m.Metadata.Get(metaSequence), h)
	})
}

// subscribe gives the messages of a subscription to h.
func (r *Router) subscribe(s EventSubscription, pending int, begins func(context.Context) (string, error), h wm.NoPublishHandlerFunc) {
	sub := NewSubscriber(r.b.js, SubscriberConfig{
		Stream: streamEvents, Slots: s.Slots, Logger: r.b.watermill(), Resume: true, Begins: begins, State: r.b.consumerState,
		Consumer: func(topic string) jetstream.ConsumerConfig {
			return jetstream.ConsumerConfig{
				Durable: s.Name, FilterSubject: topic, AckPolicy: jetstream.AckExplicitPolicy, AckWait: s.AckWait,
				MaxAckPending: pending, MaxDeliver: -1, // attempts are counted in the aggregate
			}
		},
	})
	r.router.AddConsumerHandler(s.Name, s.topic(), sub, h)
}

// handle gives the event in m, which stands in the log under a subject and a revision,
// to h. An event that cannot be handled is set aside.
func (r *Router) handle(m *wm.Message, name, subject, revision string, h events.Handler) error {
	env, err := openEvent(m, subject, revision)
	if err != nil { // kept for whoever can read it, this worker after its upgrade perhaps
		if r.b.said.due(name + err.Error()) {
			r.b.log.Error("an event is set aside for a while", zap.String("subscription", name), zap.Error(err))
		}
		deliveryOf(m.Context()).aside.Store(true)
		return settle(m.Context(), events.RetryAfter(err, setAside))
	}
	return settle(m.Context(), h.Handle(m.Context(), env))
}

func openEvent(m *wm.Message, subject, revision string) (events.Envelope, error) {
	rev, err := strconv.ParseUint(revision, 10, 64)
	if err != nil {
		return events.Envelope{}, fmt.Errorf("the revision of the event %s is not a number: %w", subject, err)
	}
	env, err := unmarshal(subject, events.Revision(rev), m.Metadata.Get, m.Payload)
	if u, ok := env.Event.(events.Unknown); err == nil && ok {
		err = fmt.Errorf("revision %d: this version does not know the event %s; a later one handles it", rev, u.Type)
	}
	return env, err
}

// unavailableWait is when a message is tried again whose handler could not reach the log.
const unavailableWait = 5 * time.Second

// setAside is when an event that cannot be handled is looked at again.
const setAside = time.Minute

// consumerState takes note of whether a consumer can be used.
func (b *Bus) consumerState(consumer string, err error) { b.note("consumer "+consumer, err) }

// settle turns a handler's wish into what the delivery shall do.
func settle(ctx context.Context, err error) error {
	d := deliveryOf(ctx)
	if errors.Is(err, events.ErrFenced) {
		d.abandon.Store(true)
		return nil
	}
	if after, ok := events.RetryDelay(err); ok {
		d.retry.Store(int64(after))
	} else if errors.Is(err, events.ErrUnavailable) { // no fault of the message: it must not wait longer each time
		d.retry.Store(int64(unavailableWait))
	}
	return err
}
