package bus

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
)

// metaDamage is where the stream keeps the damage that any process has found, for all.
const metaDamage = "holdfast-damage"

// Expect tells the bus what is known of the log from before, such as from the
// checkpoint of a catalog. A log that is shorter, or another one, is damaged.
func (b *Bus) Expect(known events.LogState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known = known
}

// Damage returns what the log has lost, as far as this process knows, or nil.
func (b *Bus) Damage() *events.DamageError { return b.damage.Load() }

// Damaged takes note of damage, for all processes, and reports whether the operator has
// accepted it. If not, nothing is appended from then on. On a cluster a log that is
// shorter than before is suspected at first.
func (b *Bus) Damaged(ctx context.Context, d *events.DamageError) (accepted bool, err error) {
	state, err := b.acceptance(ctx)
	if err != nil || state.Covers(d) {
		return err == nil, err
	}
	if !b.confirmed(d) {
		return false, nil
	}
	if old := b.damage.Swap(d); old == nil || *old != *d {
		b.log.Error("the event log is damaged", zap.String("damage", d.Error()))
	}
	err = b.publishDamage(ctx, d)
	b.unpublished.Store(err != nil)
	return false, err
}

// Resolve forgets damage, for all processes, because it was accepted or was none.
func (b *Bus) Resolve(ctx context.Context, d *events.DamageError) error {
	if b.damage.CompareAndSwap(d, nil) {
		b.log.Info("the event log takes writes again")
	}
	return b.publishDamage(ctx, nil)
}

// Examine looks whether the log is whole and takes note of what is not. What another
// process has found, or resolved, is known afterwards as well. The error says that it
// could not be looked at.
func (b *Bus) Examine(ctx context.Context) error {
	info, err := b.events(ctx)
	if err != nil {
		return err
	}
	state, err := b.acceptance(ctx)
	if err != nil {
		return err
	}
	d, now := b.find(info, state), b.damage.Load()
	switch {
	case d == nil && now == nil && info.Config.Metadata[metaDamage] == "":
		return nil
	case d == nil && now != nil && b.unpublished.Load() && !state.Covers(now):
		d = now // the others do not know it yet
	case d == nil:
		return b.Resolve(ctx, now)
	}
	_, err = b.Damaged(ctx, d)
	return err
}

// events returns the state of the stream with the revisions that it lacks.
func (b *Bus) events(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, leaderTime)
	defer cancel()
	s, err := b.js.Stream(ctx, streamEvents)
	if err != nil {
		return nil, unavailable(err)
	}
	info := s.CachedInfo()
	if info.State.NumDeleted == 0 {
		return info, nil
	}
	info, err = s.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return nil, unavailable(err)
	}
	return info, nil
}

// find returns the first damage that was not accepted, and takes note of how far the
// log goes.
func (b *Bus) find(info *jetstream.StreamInfo, state events.Acceptance) *events.DamageError {
	now := stateOf(info)
	b.trust(now)
	b.mu.Lock()
	before := b.known
	b.mu.Unlock()
	var all []*events.DamageError
	switch {
	case before.Identity == "":
	case before.Identity != now.Identity:
		all = append(all, &events.DamageError{Gap: events.Gap{First: 1, Last: before.Last}, Replaced: before.Identity})
	case before.Last > now.Last:
		all = append(all, &events.DamageError{Gap: events.Gap{First: now.Last + 1, Last: before.Last}, Replaced: before.Identity})
	}
	for _, g := range gaps(info) {
		all = append(all, &events.DamageError{Gap: g})
	}
	if text := info.Config.Metadata[metaDamage]; text != "" {
		var d events.DamageError
		if json.Unmarshal([]byte(text), &d) == nil {
			all = append(all, &d)
		}
	}
	for _, d := range all {
		if !state.Covers(d) {
			return d
		}
	}
	b.Expect(now)
	return nil
}

func stateOf(info *jetstream.StreamInfo) events.LogState {
	return events.LogState{Identity: info.Created.UTC().Format(time.RFC3339Nano), Last: events.Revision(info.State.LastSeq)}
}

// gaps returns the runs of revisions that the stream lacks.
func gaps(info *jetstream.StreamInfo) (all []events.Gap) {
	if first := info.State.FirstSeq; first > 1 {
		all = append(all, events.Gap{First: 1, Last: events.Revision(first) - 1})
	}
	for _, seq := range slices.Sorted(slices.Values(info.State.Deleted)) {
		r := events.Revision(seq)
		if n := len(all); n > 0 && all[n-1].Last+1 == r {
			all[n-1].Last = r
			continue
		}
		all = append(all, events.Gap{First: r, Last: r})
	}
	return all
}

// acceptance returns what operators have accepted.
func (b *Bus) acceptance(ctx context.Context) (s events.Acceptance, err error) {
	for env, err := range b.Log().Read(ctx, events.LogAggregate(), 0) {
		if err != nil {
			return s, err
		}
		s = s.Apply(env)
	}
	return s, nil
}

// publishDamage writes damage into the stream's metadata, or takes it out.
func (b *Bus) publishDamage(ctx context.Context, d *events.DamageError) error {
	info, err := b.events(ctx)
	if err != nil {
		return err
	}
	c := info.Config
	c.Metadata = maps.Clone(c.Metadata)
	if c.Metadata == nil {
		c.Metadata = map[string]string{}
	}
	text := ""
	if d != nil {
		data, err := json.Marshal(d)
		if err != nil {
			return err
		}
		text = string(data)
	}
	if c.Metadata[metaDamage] == text {
		return nil
	}
	if c.Metadata[metaDamage] = text; text == "" {
		delete(c.Metadata, metaDamage)
	}
	ctx, cancel := context.WithTimeout(ctx, leaderTime)
	defer cancel()
	if _, err := b.js.UpdateStream(ctx, c); err != nil {
		return unavailable(err)
	}
	return nil
}

// Accept records that the operator accepts what the log has lost, for a reason, and
// returns what that is; nil if there is nothing to accept.
func (b *Bus) Accept(ctx context.Context, reason string) (*events.DamageError, error) {
	if err := b.Examine(ctx); err != nil {
		return nil, err
	}
	d := b.Damage()
	if d == nil {
		return nil, nil //nolint:nilnil // the log is whole
	}
	info, err := b.events(ctx)
	if err != nil {
		return d, err
	}
	_, err = events.Update(ctx, b.RepairLog(), events.LogAggregate(), events.Cause{Actor: "system"}, func(s events.Acceptance) (events.Event, error) {
		return events.Accept(s, d, gaps(info), reason)
	})
	if err != nil && !errors.Is(err, events.ErrNoChange) {
		return d, err
	}
	return d, b.Examine(ctx)
}

const examineEvery = 5 * time.Second

// Watch examines the log every few seconds until ctx ends, and tries whether the server
// stores something again after it did not.
func (b *Bus) Watch(ctx context.Context) error {
	var away notice
	for sleep(ctx, examineEvery) {
		if err := b.connection(); err != nil {
			if away.due(err.Error()) {
				b.log.Warn("waiting for the NATS server", zap.Error(err))
			}
			continue
		}
		if b.troubled(troubleStore) {
			_ = b.Probe(ctx)
		}
		if err := b.Examine(ctx); err != nil && ctx.Err() == nil {
			b.log.Debug("the event log could not be examined", zap.Error(err)) // Ready says so
		}
	}
	return nil
}
