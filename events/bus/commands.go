package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	wm "github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
)

const (
	commandPrefix  = "holdfast.cmd."
	dlqPrefix      = "holdfast.dlq."
	metaAbout      = "holdfast-about"
	metaActor      = "actor"
	commandSlots   = 8
	commandAckWait = 30 * time.Second // default
	commandDrain   = 5 * time.Second
	maxFailures    = 5 // internal errors of a command, in one process
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

// routedMarshaler decodes what a subject that carries one type of commands brings. The
// name in a message is not asked: a message with another would be acknowledged unread.
type routedMarshaler struct{ commandMarshaler }

const routedName = "command"

// Name implements cqrs.CommandEventMarshaler.
func (routedMarshaler) Name(any) string { return routedName }

// NameFromMessage implements cqrs.CommandEventMarshaler.
func (routedMarshaler) NameFromMessage(*wm.Message) string { return routedName }

// CommandOption changes how commands are handled.
type CommandOption func(*queueConfig)

// OneAtATime lets a process handle one command of the verb at a time, for handlers that
// take long.
func OneAtATime() CommandOption { return func(c *queueConfig) { c.Slots = 1 } }

// HandleCommand gives the commands of a route's service, pool and verb to h, those of
// different projects in turn. A permanent fault, and an error that stays through several
// deliveries, sends the command to the dead letters and tells the router's Rejecter.
func HandleCommand[C any](r *Router, service, pool, verb string, h func(ctx context.Context, c *C, cause events.Cause) error, opts ...CommandOption) error {
	topic := commandPrefix + strings.Join([]string{service, pool, "*", verb}, ".")
	name := strings.Join([]string{service, pool, verb}, "-")
	cfg := queueConfig{Stream: streamCommands, Name: name, IDs: true, Slots: commandSlots, AckWait: r.AckWait, Drain: commandDrain}
	for _, o := range opts {
		o(&cfg)
	}
	p, err := cqrs.NewCommandProcessorWithConfig(r.router, cqrs.CommandProcessorConfig{
		Marshaler: routedMarshaler{}, Logger: r.b.watermill(),
		GenerateSubscribeTopic: func(cqrs.CommandProcessorGenerateSubscribeTopicParams) (string, error) { return topic, nil },
		SubscriberConstructor: func(cqrs.CommandProcessorSubscriberConstructorParams) (wm.Subscriber, error) {
			return r.b.newQueue(cfg), nil
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
			err = fault.Wrap(err, fault.Conflict, "the event log has an event about this that cannot be read")
		}
		if !fault.Permanent(err) {
			d := deliveryOf(m.Context())
			if _, waits := events.RetryDelay(err); waits {
				return out, err
			}
			if fault.CodeOf(err) != fault.Internal || errors.Is(err, context.Canceled) || errors.Is(err, events.ErrUnavailable) || d.failures+1 < maxFailures {
				return out, err
			}
			err = fault.Wrap(err, fault.Conflict, "the command failed %d times; the log of the service says why", maxFailures)
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
