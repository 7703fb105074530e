package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	checkEvery   = 5 * time.Second // of a consumer that may have been deleted
	consumerTime = 5 * time.Second // of one request about a consumer
	remakeWait   = time.Second     // a consumer that is made too soon after it was deleted takes over its unfinished deliveries
)

// subscription is a durable consumer that is made again when it is gone.
type subscription struct {
	s   *Subscriber
	cfg jetstream.ConsumerConfig

	mu    sync.Mutex
	c     jetstream.Consumer
	floor uint64 // everything up to this stream sequence was acknowledged
	said  notice
}

// open creates the consumer, or takes over the one that is there, in its place.
func (n *subscription) open(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, consumerTime)
	defer cancel()
	cfg := n.cfg
	begins, err := n.begins(ctx)
	if err != nil {
		return fmt.Errorf("consumer %s: %w", cfg.Durable, err)
	}
	cfg.Metadata = begins
	old, err := n.s.js.Consumer(ctx, n.s.cfg.Stream, cfg.Durable)
	if err == nil && n.outdated(old.CachedInfo(), begins) {
		if err = n.s.js.DeleteConsumer(ctx, n.s.cfg.Stream, cfg.Durable); err == nil {
			n.floor, err = 0, jetstream.ErrConsumerNotFound
		}
		sleep(ctx, remakeWait)
	}
	switch {
	case err == nil: // where it begins cannot be changed
		cfg.DeliverPolicy, cfg.OptStartSeq = old.CachedInfo().Config.DeliverPolicy, old.CachedInfo().Config.OptStartSeq
	case !errors.Is(err, jetstream.ErrConsumerNotFound):
		return fmt.Errorf("consumer %s: %w", cfg.Durable, err)
	case n.floor > 0 && n.s.cfg.Resume:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, n.floor+1
	}
	c, err := n.s.js.CreateOrUpdateConsumer(ctx, n.s.cfg.Stream, cfg)
	if err != nil {
		return fmt.Errorf("consumer %s: %w", cfg.Durable, err)
	}
	n.c = c
	return nil
}

// metaBegins is where a consumer keeps what it was made for.
const metaBegins = "holdfast-begins"

func (n *subscription) begins(ctx context.Context) (map[string]string, error) {
	if n.s.cfg.Begins == nil {
		return nil, nil //nolint:nilnil // a consumer without metadata
	}
	id, err := n.s.cfg.Begins(ctx)
	return map[string]string{metaBegins: id}, err
}

// outdated reports whether a consumer was made for something else. One of a version
// that did not note it goes on.
func (n *subscription) outdated(info *jetstream.ConsumerInfo, begins map[string]string) bool {
	was := info.Config.Metadata[metaBegins]
	return n.s.cfg.Begins != nil && was != "" && was != begins[metaBegins]
}

// openPatiently opens the consumer, again and again while a cluster elects its leader.
func (n *subscription) openPatiently(ctx context.Context) error {
	for {
		err := n.open(ctx)
		if err == nil {
			n.s.state(n.cfg.Durable, nil)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n.say(err)
		n.s.state(n.cfg.Durable, err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-n.s.closed:
			return err
		case <-time.After(retryWait):
		}
	}
}

func (n *subscription) consumer() jetstream.Consumer {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.c
}

// watch looks after the consumer until ctx ends.
func (n *subscription) watch(ctx context.Context) {
	for sleep(ctx, checkEvery) {
		n.check(ctx)
	}
}

// check makes the consumer again if it is gone, and notes how far it is.
func (n *subscription) check(ctx context.Context) {
	ictx, cancel := context.WithTimeout(ctx, consumerTime)
	info, err := n.consumer().Info(ictx)
	begins, berr := n.begins(ictx)
	cancel()
	if err == nil && berr == nil && n.outdated(info, begins) {
		n.say(errors.New("what it was made for is gone; it begins anew"))
		n.s.state(n.cfg.Durable, n.open(ctx))
		return
	}
	if err == nil {
		n.mu.Lock()
		n.floor = info.AckFloor.Stream
		n.mu.Unlock()
		n.s.state(n.cfg.Durable, nil)
		return
	}
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		n.say(errors.New("it was deleted; it is made again"))
		sleep(ctx, remakeWait)
		err = n.open(ctx)
	}
	if ctx.Err() == nil {
		n.s.state(n.cfg.Durable, err)
	}
}

// passed notes how far the consumer is after a delivery.
func (n *subscription) passed(ctx context.Context, m jetstream.Msg, o outcome) {
	md, err := m.Metadata()
	if n.cfg.MaxAckPending != 1 || err != nil {
		n.check(ctx) // others may be pending
		return
	}
	if o.again == 0 {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.floor = max(n.floor, md.Sequence.Stream)
	}
}

// failed deals with an error of a fetch.
func (n *subscription) failed(ctx context.Context, err error) {
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, jetstream.ErrNoHeartbeat) {
		return
	}
	if !errors.Is(err, jetstream.ErrServerShutdown) { // the connection says so, once for all consumers
		n.say(err)
	}
	n.check(ctx)
	sleep(ctx, retryWait)
}

// say logs that the consumer cannot be used, the same once a minute.
func (n *subscription) say(err error) {
	if n.said.due(err.Error()) {
		n.s.cfg.Logger.Error("consumer "+n.cfg.Durable+" of "+n.s.cfg.Stream+" cannot be used", err, nil)
	}
}

// notice keeps the same line from being logged again and again.
type notice struct {
	mu   sync.Mutex
	text string
	at   time.Time
}

// notices keeps each of several lines from being logged again and again.
type notices struct {
	mu   sync.Mutex
	last map[string]time.Time
}

const noticesMax = 1000 // lines that are remembered

// due reports whether a line was not logged within the last minute.
func (n *notices) due(text string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Since(n.last[text]) < noticeEvery {
		return false
	}
	if n.last == nil || len(n.last) >= noticesMax {
		n.last = map[string]time.Time{}
	}
	n.last[text] = time.Now()
	return true
}

const noticeEvery = time.Minute

// due reports whether a text is another than the last, or that is long ago.
func (n *notice) due(text string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if text == n.text && time.Since(n.at) < noticeEvery {
		return false
	}
	n.text, n.at = text, time.Now()
	return true
}
