package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/holdfast-dev/holdfast/events"
)

// trouble is something that does not work now.
type trouble struct {
	err   error
	since time.Time
}

// troubleStore is the name of the trouble that the server stores nothing.
const troubleStore = "store"

// note takes note of whether something works.
func (b *Bus) note(name string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		delete(b.troubles, name)
		return
	}
	t, ok := b.troubles[name]
	if !ok {
		t.since = time.Now()
	}
	t.err = err
	b.troubles[name] = t
}

// storedFor is stored for a caller who may have left: what ends with it says nothing of
// the server.
func (b *Bus) storedFor(ctx context.Context, err error) {
	if err == nil || ctx.Err() == nil {
		b.stored(err)
	}
}

// stored takes note of how a try to store something ended.
func (b *Bus) stored(err error) {
	if err == nil {
		b.storedAt.Store(time.Now().UnixNano())
	} else {
		b.unstored.Add(1)
		if b.troubled(troubleStore) {
			_ = b.nc.Publish(troubleSubject, nil) // the next try says it again
		}
		err = fmt.Errorf("%w (%w)", errStore, err)
	}
	b.note(troubleStore, err)
}

// briefly is how long something may not work before that is said: a leader may be
// elected, or a consumer made again.
const briefly = 3 * time.Second

// awayError is events.ErrUnavailable in words for people.
type awayError struct {
	sentence string
	err      error // may be nil
}

// Error implements error.
func (e *awayError) Error() string { return e.sentence }

// Unwrap returns ErrUnavailable and the cause.
func (e *awayError) Unwrap() []error {
	if e.err == nil {
		return []error{events.ErrUnavailable}
	}
	return []error{events.ErrUnavailable, e.err}
}

// Health returns what keeps the log from being used, as far as this process knows
// without asking, or nil.
func (b *Bus) Health() error {
	if err := b.connection(); err != nil {
		return err
	}
	if d := b.Damage(); d != nil {
		return d
	}
	if err := b.suspected(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if t, ok := b.troubles[troubleStore]; ok && time.Since(t.since) > storeBriefly {
		return &awayError{t.err.Error(), t.err}
	}
	if time.Since(b.toldAt) < toldTime {
		return fmt.Errorf("%w: %w", events.ErrUnavailable, errStore)
	}
	return nil
}

// errStore says what helps.
var errStore = errors.New("the NATS server stores nothing. See its log; after a full disk make room and restart it")

const (
	troubleSubject = "holdfast.trouble.store" // core NATS, which stores nothing either
	toldTime       = 5 * time.Second          // tries are repeated sooner
	storeBriefly   = time.Second              // one try that takes too long may be a disk that is slow
)

// listen hears from other processes that the server stores nothing: who waits for what
// another one has to write would not find out.
func (b *Bus) listen() error {
	_, err := b.nc.Subscribe(troubleSubject, func(*nats.Msg) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.toldAt = time.Now()
	})
	return err
}

func (b *Bus) connection() error {
	if b.away.Load() {
		return &awayError{"the NATS server is away", nil}
	}
	return nil
}

// connected waits a moment for a connection that is made again.
func (b *Bus) connected(ctx context.Context) error {
	const tick = 50 * time.Millisecond
	for range 10 {
		if b.connection() == nil || !sleep(ctx, tick) {
			break
		}
	}
	return b.connection()
}

// Connected returns why the NATS server is out of reach, if it is.
func (b *Bus) Connected(context.Context) error { return b.connection() }

// Readable returns why the event log cannot be read, if it cannot: it reads the newest
// event from the leader.
func (b *Bus) Readable(ctx context.Context) error {
	if err := errors.Join(b.connection(), b.suspected()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, leaderTime)
	defer cancel()
	_, err := b.js.Stream(ctx, streamEvents)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("the stream %s is gone from the NATS server: bring its data back from a copy, or restart holdfastd, which begins a new one", streamEvents)
	}
	if err == nil {
		_, err = b.askLeader(ctx, streamEvents, []byte(`{"last_by_subj":"`+eventPrefix+`>"}`))
	}
	if err != nil && !errors.Is(err, events.ErrNoEvent) {
		return &awayError{"the event log cannot be read: " + strings.TrimPrefix(err.Error(), events.ErrUnavailable.Error()+": "), err}
	}
	return nil
}

// probeEvery is how old the last write that succeeded may be for [Bus.Writable] to
// believe that the next one succeeds.
const probeEvery = 30 * time.Second

// Writable returns why the event log takes no writes, if it does not: it is damaged, or
// the server stores nothing, which is tried when nobody else has written for a while.
func (b *Bus) Writable(ctx context.Context) error {
	if err := b.Health(); err != nil {
		return err
	}
	if time.Since(time.Unix(0, b.storedAt.Load())) > probeEvery {
		_ = b.Probe(ctx) // Health says it
	}
	return b.Health()
}

// Subscribed returns which consumers cannot be used, if there are some: what they should
// deliver to this process waits.
func (b *Bus) Subscribed(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(b.troubles)) {
		if t := b.troubles[name]; name != troubleStore && time.Since(t.since) > briefly {
			errs = append(errs, fmt.Errorf("%s cannot be used: %w", name, t.err))
		}
	}
	return errors.Join(errs...)
}

// Queued returns how many commands nobody has dealt with.
func (b *Bus) Queued(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, leaderTime)
	defer cancel()
	s, err := b.js.Stream(ctx, streamCommands)
	if err != nil {
		return 0, unavailable(err)
	}
	return int64(s.CachedInfo().State.Msgs), nil
}

// DeadLetters returns how many commands were poisoned within the last 90 days, and when
// the last one was.
func (b *Bus) DeadLetters(ctx context.Context) (n uint64, last time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, leaderTime)
	defer cancel()
	s, err := b.js.Stream(ctx, streamDLQ)
	if err != nil {
		return 0, last, unavailable(err)
	}
	state := s.CachedInfo().State
	return state.Msgs, state.LastTime, nil
}

// Probe returns why the server stores nothing, if it does not: it stores a message that
// is deleted at once.
func (b *Bus) Probe(ctx context.Context) error {
	pctx, cancel := context.WithTimeout(ctx, leaderTime)
	defer cancel()
	ack, err := b.js.Publish(pctx, commandPrefix+"probe.none."+events.System+".probe.probe", nil)
	if b.storedFor(ctx, err); err != nil {
		return unavailable(err)
	}
	if s, err := b.js.Stream(pctx, streamCommands); err == nil {
		_ = s.DeleteMsg(pctx, ack.Sequence) // else it goes with its age
	}
	return nil
}

func (b *Bus) troubled(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.troubles[name]
	return ok
}
