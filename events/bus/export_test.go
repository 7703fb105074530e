package bus

import (
	"context"
	"testing"

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
	for _, name := range []string{streamEvents, streamCommands, streamDLQ, streamProgress} {
		if err := b.js.DeleteStream(context.Background(), name); err != nil {
			tb.Error(err)
		}
	}
}
