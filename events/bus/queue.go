package bus

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"

	wm "github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// queueConfig says how a [queue] takes messages.
type queueConfig struct {
	Stream  string // work queue
	Name    string // such as "backup-default-create"
	IDs     bool   // subjects have one more token, by which a message is found; earlier versions had none
	Slots   int    // handlers at a time
	AckWait time.Duration
	Drain   time.Duration // how long handlers may go on after Close
}

// queue is a Watermill subscriber on the messages of a work queue that differ in the
// project only. A slot that is free takes the oldest message of the project that was
// served longest ago, so no project waits for more than one message of another. Each
// project has a consumer of its own, which exists as long as it is used: what waits
// lies in the stream and is lost with no consumer.
type queue struct {
	b   *Bus
	cfg queueConfig
	to  deliverer
	subscriptions
}

func (b *Bus) newQueue(cfg queueConfig) *queue {
	return &queue{b: b, cfg: cfg, to: deliverer{nakDelay: backOff, drain: cfg.Drain, log: b.watermill()}, subscriptions: subscriptions{closed: make(chan struct{})}}
}

// Subscribe takes the messages of a topic with one wildcard in the place of the project
// until ctx ends or the queue is closed. It does not wait for the server.
func (q *queue) Subscribe(ctx context.Context, topic string) (<-chan *wm.Message, error) {
	if !q.enter() {
		return nil, errors.New("bus: subscriber is closed")
	}
	d := &dispatcher{q: q, topic: topic, projects: map[string]*projectQueue{}, changed: make(chan struct{}, 1), out: make(chan *wm.Message)}
	d.before, d.behind, _ = strings.Cut(topic, "*")
	// A message that is published wakes the dispatcher. It may be missed while the
	// server is away, so the dispatcher also looks by itself.
	var subs []*nats.Subscription
	for _, subject := range q.cfg.subjects(topic) {
		sub, err := q.b.nc.Subscribe(subject, func(m *nats.Msg) { d.wake(d.project(m.Subject)) })
		if err != nil {
			for _, sub := range subs {
				_ = sub.Unsubscribe() // else the connection has ended
			}
			q.open.Done()
			return nil, err
		}
		subs = append(subs, sub)
	}
	ctx, cancel := context.WithCancel(ctx)
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		d.run(ctx)
	}()
	go func() {
		q.ended(ctx)
		cancel()
		for _, sub := range subs {
			_ = sub.Unsubscribe() // else the connection has ended
		}
		<-ran
		close(d.out) // only now: no sender is left
		q.open.Done()
	}()
	return d.out, nil
}

// dispatcher gives free slots the next message.
type dispatcher struct {
	q              *queue
	topic          string
	before, behind string // of the project in a subject
	out            chan *wm.Message
	changed        chan struct{} // something may be there that was not
	looked         time.Time     // when the stream was asked what waits
	said           notices

	mu       sync.Mutex
	projects map[string]*projectQueue // all that ever had a message
}

const (
	lookEvery = 5 * time.Second // a message that nobody has told of is found after that
	missesMax = 6               // fetches of a project that find nothing, until somebody says that something is there
	missWait  = 2 * time.Millisecond
)

func (d *dispatcher) project(subject string) string {
	project, _, _ := strings.Cut(strings.TrimPrefix(subject, d.before), ".")
	return project
}

// subjects returns a subject with and without an id.
func (c queueConfig) subjects(subject string) []string {
	if c.IDs {
		return []string{subject, subject + ".*"}
	}
	return []string{subject}
}

// run delivers messages until ctx ends and the handlers have returned.
func (d *dispatcher) run(ctx context.Context) {
	slots := make(chan struct{}, max(1, d.q.cfg.Slots))
	var busy sync.WaitGroup
	defer busy.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case slots <- struct{}{}:
		}
		p, m := d.next(ctx)
		if m == nil {
			return
		}
		busy.Go(func() {
			defer func() { <-slots }()
			o := d.q.to.deliver(ctx, m, d.q.cfg.AckWait, d.out)
			d.answered(p, o)
		})
	}
}

// next waits for a message; it is nil when ctx has ended.
func (d *dispatcher) next(ctx context.Context) (*projectQueue, jetstream.Msg) {
	for ctx.Err() == nil {
		if time.Since(d.looked) > lookEvery {
			d.look(ctx)
		}
		p, wait := d.choose()
		if p == nil {
			select {
			case <-ctx.Done():
			case <-d.changed:
			case <-time.After(wait):
			}
			continue
		}
		m, err := p.fetch(ctx)
		if err != nil && ctx.Err() == nil {
			d.say("messages of "+d.q.cfg.Name+" cannot be taken", p.name, err)
		}
		if d.fetched(p, m != nil, err); m != nil {
			return p, m
		}
	}
	return nil, nil
}

// choose returns the project that was served longest ago of those that may have a
// message now, or nil and how long there is none.
func (d *dispatcher) choose() (next *projectQueue, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	wait = max(time.Millisecond, lookEvery-now.Sub(d.looked))
	for _, p := range d.projects {
		switch {
		case !p.waiting:
		case p.due.After(now):
			wait = min(wait, p.due.Sub(now))
		case next == nil || p.before(next):
			next = p
		}
	}
	return next, wait
}

// fetched takes note of what a fetch has found.
func (d *dispatcher) fetched(p *projectQueue, found bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	switch {
	case found:
		p.served, p.misses = now, 0
	case err != nil:
		p.due = now.Add(retryWait)
	case p.misses >= missesMax:
		p.waiting = false
	default: // it may have been told of before it was stored
		p.due, p.misses = now.Add(missWait<<p.misses), p.misses+1
	}
}

// answered takes note of what a delivery has come to.
func (d *dispatcher) answered(p *projectQueue, o outcome) {
	if o.again == 0 {
		return
	}
	const slack = 20 * time.Millisecond // the server's clock is another
	if o.waits {
		d.mu.Lock()
		p.waiting, p.due = true, time.Now().Add(o.again+slack)
		d.mu.Unlock()
		d.notice() // it may be due before what the dispatcher waits for
		return
	}
	time.AfterFunc(o.again+slack, func() { d.wake(p.name) })
}

// wake says that a project may have a message.
func (d *dispatcher) wake(project string) {
	d.mu.Lock()
	d.may(project, 0)
	d.mu.Unlock()
	d.notice()
}

// may notes that a project may have a message, and how many fetches have found none. The
// caller holds d.mu.
func (d *dispatcher) may(project string, misses int) {
	p := d.projects[project]
	if p == nil {
		p = &projectQueue{d: d, name: project, since: time.Now()}
		d.projects[project] = p
	}
	p.waiting, p.misses = true, misses
}

// notice lets the dispatcher choose again.
func (d *dispatcher) notice() {
	select {
	case d.changed <- struct{}{}:
	default: // it has not looked yet
	}
}

// look asks the stream which projects have messages. Those that are being handled, here
// or elsewhere, are among them, so one fetch that finds nothing is enough.
func (d *dispatcher) look(ctx context.Context) {
	d.looked = time.Now()
	subjects, err := d.q.b.subjects(ctx, d.q.cfg.Stream, d.q.cfg.subjects(d.topic)...)
	if ctx.Err() != nil {
		return
	}
	d.q.b.consumerState(d.q.cfg.Name, err)
	if err != nil {
		d.say("messages of "+d.q.cfg.Name+" cannot be taken", "", err)
		d.looked = time.Now().Add(retryWait - lookEvery)
		return
	}
	for subject := range subjects {
		d.mu.Lock()
		if p := d.projects[d.project(subject)]; p == nil || !p.waiting {
			d.may(d.project(subject), missesMax)
		}
		d.mu.Unlock()
	}
	d.notice()
}

// say logs an error, the same once a minute.
func (d *dispatcher) say(message, project string, err error) {
	if d.said.due(message + project + err.Error()) {
		d.q.b.log.Error(message, zap.String("project_id", project), zap.Error(err))
	}
}

// subjects returns how many messages of a stream wait or are being handled, by subject.
func (b *Bus) subjects(ctx context.Context, stream string, filters ...string) (map[string]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, leaderTime)
	defer cancel()
	s, err := b.js.Stream(ctx, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		b.log.Error("the stream is gone from the NATS server, with what waited in it; it is made again", zap.String("stream", stream))
		return nil, errors.Join(err, b.provision(ctx, b.queueStreams()))
	}
	if err != nil {
		return nil, err
	}
	all := map[string]uint64{}
	for _, filter := range filters {
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
		if err != nil {
			return nil, err
		}
		maps.Copy(all, info.State.Subjects)
	}
	return all, nil
}
