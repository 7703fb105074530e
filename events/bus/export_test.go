package bus

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// JetStream returns what the bus stands on.
func JetStream(b *Bus) jetstream.JetStream { return b.js }

// DeadLetters returns how many commands were poisoned.
func DeadLetters(b *Bus) uint64 {
	s, err := b.js.Stream(context.Background(), streamDLQ)
	if err != nil {
		return 0
	}
	return s.CachedInfo().State.Msgs
}

// NewPublisher returns a publisher on the bus's connection.
func NewPublisher(b *Bus) *Publisher { return &Publisher{b} }

// DeleteStreams removes all of Holdfast's streams, so that the next Connect
// begins anew.
func DeleteStreams(tb testing.TB, b *Bus) {
	tb.Helper()
	for _, name := range []string{streamEvents, streamCommands, streamJobs, streamDLQ, streamProgress} {
		if err := b.js.DeleteStream(context.Background(), name); err != nil {
			tb.Error(err)
		}
	}
}

// Provision creates what is missing of Holdfast's streams.
func Provision(tb testing.TB, b *Bus) {
	tb.Helper()
	if err := b.provision(context.Background(), append(b.logStreams(), b.queueStreams()...)); err != nil {
		tb.Error(err)
	}
}

// Publish stores a message in the log that need not be an event.
func Publish(tb testing.TB, b *Bus, subject, typ, data string) {
	tb.Helper()
	m := nats.NewMsg(subject)
	m.Data = []byte(data)
	m.Header.Set("ce-type", typ)
	m.Header.Set("ce-time", time.Now().UTC().Format(time.RFC3339Nano))
	if _, err := b.js.PublishMsg(context.Background(), m); err != nil {
		tb.Error(err)
	}
}

// ServerName returns which server the bus is connected to.
func ServerName(b *Bus) string { return b.nc.ConnectedServerName() }

// ForgetWrites makes the bus forget that the server has stored something.
func ForgetWrites(b *Bus) { b.storedAt.Store(0) }
