package bus_test

import (
	"regexp"
	"testing"
	"time"

	wm "github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/holdfast-dev/holdfast/events/bus"
)

var unsafe = regexp.MustCompile(`[^a-zA-Z0-9]`)

// TestPubSub runs Watermill's own suite for publishers and subscribers.
func TestPubSub(t *testing.T) {
	b := embedded(t)
	js := bus.JetStream(b)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SUITE", Subjects: []string{"suite.>"}, Storage: jetstream.MemoryStorage}); err != nil {
		t.Fatal(err)
	}
	open := func(group string) (wm.Publisher, wm.Subscriber) {
		return bus.NewPublisher(b), bus.NewSubscriber(js, bus.SubscriberConfig{
			Stream: "SUITE", NakDelay: func(int) time.Duration { return 0 },
			Consumer: func(topic string) jetstream.ConsumerConfig {
				return jetstream.ConsumerConfig{
					Durable: unsafe.ReplaceAllString(group+topic, "_"), FilterSubject: topic, AckPolicy: jetstream.AckExplicitPolicy,
					AckWait: 30 * time.Second, MaxAckPending: 10_000, MaxDeliver: -1,
				}
			},
		})
	}
	tests.TestPubSub(t, tests.Features{
		ConsumerGroups: true, Persistent: true, GuaranteedOrder: true, GuaranteedOrderWithSingleSubscriber: true,
		GenerateTopicFunc: func(c tests.TestContext) string { return "suite." + unsafe.ReplaceAllString(string(c.TestID), "_") },
	}, func(*testing.T) (wm.Publisher, wm.Subscriber) { return open("all") },
		func(_ *testing.T, group string) (wm.Publisher, wm.Subscriber) { return open(group) })
}
