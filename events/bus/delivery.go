package bus

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wm "github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"
)

// delivery lets a handler decide more than ack or nak.
type delivery struct {
	abandon  atomic.Bool  // leave the message to its new owner
	retry    atomic.Int64 // nak with this delay
	aside    atomic.Bool  // the delay says nothing about what comes behind the message
	failures int          // of this message so far; a handler that waits has not failed
}

type deliveryKey struct{}

func deliveryOf(ctx context.Context) *delivery {
	d, _ := ctx.Value(deliveryKey{}).(*delivery)
	return d
}

// deliverer gives messages of a consumer to a handler and answers them.
type deliverer struct {
	nakDelay func(failures int) time.Duration // before a refused message comes again
	drain    time.Duration                    // how long handlers may go on after the end
	log      watermill.LoggerAdapter

	mu       sync.Mutex
	failures map[uint64]int // of messages that were refused, by stream sequence
}

const failuresMax = 10_000 // messages whose failures are remembered

// outcome is what a delivery has come to.
type outcome struct {
	again time.Duration // until the message comes again; 0 if it does not
	waits bool          // it waits for its turn, and what comes behind it should too
}

// deliver hands one message out and answers it. It returns when the handler has
// ended.
func (s *deliverer) deliver(ctx context.Context, jm jetstream.Msg, ackWait time.Duration, out chan<- *wm.Message) outcome {
	md, err := jm.Metadata()
	if err != nil {
		_ = jm.TermWithReason("no metadata") // not from JetStream
		return outcome{}
	}
	m := wm.NewMessage(jm.Headers().Get(headerUUID), jm.Data())
	for k := range jm.Headers() {
		m.Metadata.Set(k, jm.Headers().Get(k))
	}
	m.Metadata.Set(metaSubject, jm.Subject())
	m.Metadata.Set(metaSequence, strconv.FormatUint(md.Sequence.Stream, 10))
	d := &delivery{failures: s.failed(md.Sequence.Stream, 0)}
	// The handler outlives ctx by drain, so its context hangs on no other.
	hctx, cancel := context.WithCancel(context.WithValue(context.WithoutCancel(ctx), deliveryKey{}, d))
	defer cancel()
	m.SetContext(hctx)
	select {
	case out <- m:
	case <-ctx.Done():
		_ = jm.Nak()
		return outcome{}
	}
	beat := time.NewTicker(max(ackWait/3, time.Millisecond))
	defer beat.Stop()
	closing := ctx.Done()
	var drained, gone <-chan time.Time
	for {
		select {
		case <-closing:
			closing, drained = nil, time.After(s.drain)
		case <-drained:
			cancel()
			gone = time.After(handlerGrace)
		case <-gone:
			_ = jm.Nak() // a handler that does not heed its context is given up
			return outcome{}
		case <-beat.C:
			if !d.abandon.Load() {
				_ = jm.InProgress() // if it is lost, the next one is not
			}
		case <-m.Acked():
			return s.ack(jm, d, md.Sequence.Stream, ackWait)
		case <-m.Nacked():
			return s.nak(jm, d, md.Sequence.Stream, ackWait, ctx.Err() != nil)
		}
	}
}

func (s *deliverer) ack(jm jetstream.Msg, d *delivery, seq uint64, ackWait time.Duration) outcome {
	if d.abandon.Load() {
		return outcome{again: ackWait}
	}
	s.forget(seq)
	ctx, cancel := context.WithTimeout(context.Background(), ackTimeout)
	defer cancel()
	if err := jm.DoubleAck(ctx); err != nil {
		s.log.Error("ack", err, nil) // it comes again, and its handler will find it done
		return outcome{again: ackWait}
	}
	return outcome{}
}

func (s *deliverer) nak(jm jetstream.Msg, d *delivery, seq uint64, ackWait time.Duration, closing bool) outcome {
	switch retry := time.Duration(d.retry.Load()); {
	case d.abandon.Load():
		return outcome{again: ackWait}
	case closing:
		_ = jm.Nak() // another worker shall take it at once
		return outcome{}
	case retry > 0:
		_ = jm.NakWithDelay(retry)
		return outcome{again: retry, waits: !d.aside.Load()}
	default:
		after := s.nakDelay(s.failed(seq, 1))
		_ = jm.NakWithDelay(after)
		return outcome{again: after}
	}
}

// failed adds n to the failures of a message and returns them.
func (s *deliverer) failed(seq uint64, n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > 0 && (s.failures == nil || len(s.failures) >= failuresMax) {
		s.failures = map[uint64]int{seq: s.failures[seq]}
	}
	if n > 0 {
		s.failures[seq] += n
	}
	return s.failures[seq]
}

func (s *deliverer) forget(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.failures, seq)
}

// backOff is how long a message waits that was refused n times: 1 s doubling to 1 min.
func backOff(n int) time.Duration { return min(time.Minute, time.Second<<min(n-1, 6)) }
