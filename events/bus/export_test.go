package bus

import (
	"context"

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
func NewPublisher(b *Bus) *Publisher { return &Publisher{b.js} }
