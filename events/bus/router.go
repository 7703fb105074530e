package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	wm "github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
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

// HandleEvents gives every event of the subscription to h, on Slots goroutines.
// When ctx of Run ends, the context of h ends at once.
func (r *Router) HandleEvents(s EventSubscription, h events.Handler) {
	sub := NewSubscriber(r.b.js, SubscriberConfig{
		Stream: streamEvents, Slots: s.Slots, Logger: r.b.watermill(), Resume: true, State: r.b.consumerState,
		Consumer: func(topic string) jetstream.ConsumerConfig {
			return jetstream.ConsumerConfig{
				Durable: s.Name, FilterSubject: topic, AckPolicy: jetstream.AckExplicitPolicy, AckWait: s.AckWait,
				MaxAckPending: 10_000, // naks with a delay hold a place
				MaxDeliver:    -1,     // attempts are counted in the aggregate
			}
		},
	})
	topic := eventPrefix + "*." + s.Kind + ".*." + s.Event
	r.router.AddConsumerHandler(s.Name, topic, sub, func(m *wm.Message) error {
		rev, err := strconv.ParseUint(m.Metadata.Get(metaSequence), 10, 64)
		if err != nil {
			return err
		}
		env, err := unmarshal(m.Metadata.Get(metaSubject), events.Revision(rev), m.Metadata.Get, m.Payload)
		if err == nil {
			if u, ok := env.Event.(events.Unknown); ok {
				err = fmt.Errorf("revision %d: this version does not know the event %s; a later one handles it", rev, u.Type)
			}
		}
		if err != nil { // kept for whoever can read it, this worker after its upgrade perhaps
			r.b.log.Error("an event is set aside for a while", fields(watermill.LogFields{"subscription": s.Name, "error": err.Error()})...)
			return settle(m.Context(), events.RetryAfter(err, setAside))
		}
		return settle(m.Context(), h.Handle(m.Context(), env))
	})
}

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
	}
	return err
}

const (
	commandPrefix  = "holdfast.cmd."
	dlqPrefix      = "holdfast.dlq."
	metaAbout      = "holdfast-about"
	metaActor      = "actor"
	commandSlots   = 8
	commandAckWait = 30 * time.Second // default
	commandDrain   = 5 * time.Second
	maxDeliveries  = 5 // of a command whose handler has an internal error each time
)

// Commands sends commands.
type Commands struct {
	b   *Bus
	bus *cqrs.CommandBus
}

// Commands returns the sending end of the commands.
func (b *Bus) Commands() (*Commands, error) {
	cb, err := cqrs.NewCommandBusWithConfig(&Publisher{b}, cqrs.CommandBusConfig{
		Marshaler: commandMarshaler{}, Logger: b.watermill(),
		GeneratePublishTopic: func(p cqrs.CommandBusGeneratePublishTopicParams) (string, error) {
			c, ok := p.Command.(events.Command)
			if !ok {
				return "", fmt.Errorf("%T is not a command", p.Command)
			}
			to := c.CommandRoute()
			if err := to.About.Validate(); err != nil {
				return "", err
			}
			return commandPrefix + strings.Join([]string{to.Service, to.Pool, to.About.Project, to.Verb, to.About.ID}, "."), nil
		},
	})
	return &Commands{b, cb}, err
}

// Send returns when the command is stored. It does not wait for its effect. While the
// log is damaged it returns a [*events.DamageError].
func (c *Commands) Send(ctx context.Context, cmd events.Command, cause events.Cause) error {
	if d := c.b.Damage(); d != nil {
		return d // nobody could act on it
	}
	return c.bus.SendWithModifiedMessage(ctx, cmd, func(m *wm.Message) error {
		m.Metadata.Set(metaAbout, cmd.CommandRoute().About.String())
		m.Metadata.Set(metaActor, cause.Actor)
		middleware.SetCorrelationID(cause.CorrelationID, m)
		return nil
	})
}

// commandMarshaler is JSON with fields that a handler does not know refused by
// nobody: contracts grow.
type commandMarshaler struct{ cqrs.JSONMarshaler }

// Unmarshal marks what cannot be decoded as poison.
func (m commandMarshaler) Unmarshal(msg *wm.Message, v any) error {
	if err := json.Unmarshal(msg.Payload, v); err != nil {
		return fault.Wrap(err, fault.Invalid, "The command cannot be decoded: the services are of different versions")
	}
	return nil
}

// HandleCommand gives the commands of a route's service, pool and verb to h. A
// permanent fault, and an error that stays through several deliveries, sends the
// command to the dead letters and tells the router's Rejecter.
func HandleCommand[C any](r *Router, service, pool, verb string, h func(ctx context.Context, c *C, cause events.Cause) error) error {
	topic := commandPrefix + strings.Join([]string{service, pool, "*", verb}, ".")
	name := strings.Join([]string{service, pool, verb}, "-")
	p, err := cqrs.NewCommandProcessorWithConfig(r.router, cqrs.CommandProcessorConfig{
		Marshaler: commandMarshaler{}, Logger: r.b.watermill(),
		GenerateSubscribeTopic: func(cqrs.CommandProcessorGenerateSubscribeTopicParams) (string, error) { return topic, nil },
		SubscriberConstructor: func(cqrs.CommandProcessorSubscriberConstructorParams) (wm.Subscriber, error) {
			return NewSubscriber(r.b.js, SubscriberConfig{
				Stream: streamCommands, Slots: commandSlots, Drain: commandDrain, Logger: r.b.watermill(), State: r.b.consumerState,
				Consumer: func(topic string) jetstream.ConsumerConfig {
					return jetstream.ConsumerConfig{ // earlier commands have no id in their subject
						Durable: name, FilterSubjects: []string{topic, topic + ".*"}, AckPolicy: jetstream.AckExplicitPolicy,
						AckWait: r.AckWait, MaxAckPending: 1000, MaxDeliver: -1,
					}
				},
			}), nil
		},
	})
	if err != nil {
		return err
	}
	handler, err := p.AddHandler(cqrs.NewCommandHandler(name, func(ctx context.Context, c *C) error {
		m := cqrs.OriginalMessageFromCtx(ctx)
		cause := causeOf(m)
		err := h(ctx, c, cause)
		return settle(m.Context(), err)
	}))
	if err != nil {
		return err
	}
	poison, err := middleware.PoisonQueueWithFilter(&Publisher{r.b}, dlqPrefix+name, func(err error) bool { return fault.Permanent(err) })
	if err != nil {
		return err
	}
	handler.AddMiddleware(poison, r.rejectPoison)
	return nil
}

func causeOf(m *wm.Message) events.Cause {
	return events.Cause{CorrelationID: middleware.MessageCorrelationID(m), CausationID: m.UUID, Actor: m.Metadata.Get(metaActor)}
}

// rejectPoison appends the rejection before the command goes to the dead
// letters, so that a crash between the two repeats it.
func (r *Router) rejectPoison(next wm.HandlerFunc) wm.HandlerFunc {
	return func(m *wm.Message) ([]*wm.Message, error) {
		out, err := next(m)
		if err == nil {
			return out, nil
		}
		if errors.Is(err, events.ErrBroken) {
			err = fault.Wrap(err, fault.Conflict, "The event log has an event about this that cannot be read; the log of holdfastd says which")
		}
		if !fault.Permanent(err) {
			d := deliveryOf(m.Context())
			if fault.CodeOf(err) != fault.Internal || errors.Is(err, context.Canceled) || errors.Is(err, events.ErrUnavailable) || d.count < maxDeliveries {
				return out, err
			}
			err = fault.Wrap(err, fault.Conflict, "The command failed %d times; the log of the worker says why", d.count)
		}
		about, aerr := events.ParseAggregate(m.Metadata.Get(metaAbout))
		if aerr == nil && r.reject != nil {
			if rerr := r.reject(m.Context(), about, causeOf(m), err); rerr != nil && !errors.Is(rerr, events.ErrBroken) {
				return out, rerr
			}
		}
		r.b.log.Error("command poisoned", fields(watermill.LogFields{"about": about.String(), "error": err.Error()})...)
		return out, err
	}
}
