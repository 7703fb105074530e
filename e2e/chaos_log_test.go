package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/restore"
	"github.com/holdfast-dev/holdfast/testenv"
)

// history is what the log says, from its first event to its last.
type history struct {
	backups  map[string]backup.State
	restores map[string]restore.State
	ends     map[string]int // of each of them
	slots    map[string]backup.Slot
	events   []string // their ids, in the order of the log
}

var errEndOfLog = errors.New("the end of the log")

// read reads the log. The error may be one of the moment.
func (c *chaos) read() (h history, err error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	b, err := bus.Connect(ctx, nil, bus.Config{URL: c.url, Replicas: 3})
	if err != nil {
		return h, err
	}
	defer b.Close()
	if err := errors.Join(b.Examine(ctx), asError(b.Damage())); err != nil {
		return h, err
	}
	end, err := b.Log().State(ctx)
	if err != nil {
		return h, err
	}
	h = history{map[string]backup.State{}, map[string]restore.State{}, map[string]int{}, map[string]backup.Slot{}, nil}
	err = b.Log().Follow(ctx, 0, func(batch []events.Envelope) error {
		for _, env := range batch {
			if env.Revision != events.Revision(len(h.events)+1) {
				return fmt.Errorf("revision %d follows on %d", env.Revision, len(h.events))
			}
			h.apply(env)
		}
		if events.Revision(len(h.events)) >= end.Last {
			return errEndOfLog
		}
		return nil
	})
	if errors.Is(err, errEndOfLog) {
		return h, nil
	}
	return h, fmt.Errorf("the log cannot be read: %w", err)
}

func asError(d *events.DamageError) error {
	if d == nil {
		return nil
	}
	return d
}

func (h *history) apply(env events.Envelope) {
	h.events = append(h.events, env.ID)
	id := env.Aggregate.ID
	switch env.Aggregate.Kind {
	case events.KindBackup:
		h.backups[id] = h.backups[id].Apply(env)
	case events.KindRestore:
		h.restores[id] = h.restores[id].Apply(env)
	case events.KindSlot:
		h.slots[env.Aggregate.Project] = h.slots[env.Aggregate.Project].Apply(env)
	}
	switch e := env.Event.(type) {
	case events.BackupCompleted, events.BackupCancelled, events.RestoreCompleted:
		h.ends[id]++
	case events.BackupFailed:
		if e.Final {
			h.ends[id]++
		}
	case events.RestoreFailed:
		if e.Final {
			h.ends[id]++
		}
	}
}

// unfinished names what has not come to an end.
func (h *history) unfinished(acked map[string]string) (left []string) {
	for id, key := range acked {
		b, r := h.backups[id], h.restores[id]
		if !b.Exists() && b.Rejected == nil && !r.Exists() && r.Rejected == nil {
			left = append(left, fmt.Sprintf("%s of the key %s is not in the log", id, key))
		}
	}
	for id, s := range h.backups {
		if s.Exists() && (!s.Terminal() || s.Deleting) {
			left = append(left, fmt.Sprintf("%s, attempt %d, running %v, cancel %v, deleting %v", id, s.Attempt, s.Running, s.Cancel, s.Deleting))
		}
	}
	for id, s := range h.restores {
		if s.Exists() && (!s.Terminal() || s.Keeps()) {
			left = append(left, fmt.Sprintf("%s, attempt %d, running %v, stages %v, keeps %v", id, s.Attempt, s.Running, s.Stages, s.Keeps()))
		}
	}
	for project, s := range h.slots {
		if len(s.Holders) > 0 {
			left = append(left, fmt.Sprintf("the slot of %s is held by %v", project, s.Holders))
		}
	}
	slices.Sort(left)
	return left
}

// stored returns the keys of the objects that belong to backups.
func (h *history) stored() map[string]bool {
	out := map[string]bool{}
	for _, s := range h.backups {
		if s.Completed != nil && !s.Deleted {
			out[s.Completed.Key], out[backup.SidecarKey(s.Completed.Key)] = true, true
		}
	}
	return out
}

// idle returns an error while a handler has something in its hands.
func (c *chaos) idle() error {
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	return c.withJetStream(func(js jetstream.JetStream) error {
		for _, name := range []string{eventStream, commandStream, jobStream} {
			s, err := js.Stream(ctx, name)
			if err != nil {
				return err
			}
			if left := s.CachedInfo().State.Msgs; left > 0 && name != eventStream {
				return fmt.Errorf("stream %s holds %d messages", name, left)
			}
			consumers := s.ListConsumers(ctx)
			for info := range consumers.Info() {
				if info.Config.Durable != "" && (info.NumPending > 0 || info.NumAckPending > 0) {
					return fmt.Errorf("consumer %s: %d pending, %d in hand", info.Name, info.NumPending, info.NumAckPending)
				}
			}
			if err := consumers.Err(); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *chaos) withJetStream(f func(jetstream.JetStream) error) error {
	nc, err := nats.Connect(c.url)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	return f(js)
}

func (c *chaos) eventually(within time.Duration, f func() error) {
	c.t.Helper()
	testenv.Eventually(c.t, within, func() error {
		err := f()
		if err != nil {
			time.Sleep(time.Second) // it is a costly question
		}
		return err
	})
}

// summary says how things have ended.
func (h *history) summary() string {
	count := map[string]int{}
	for _, s := range h.backups {
		switch {
		case s.Deleted:
			count["deleted"]++
		case s.Completed != nil:
			count["completed"]++
		case s.Failed != nil && s.Cancel:
			count["cancelled"]++
		case s.Failed != nil:
			count["failed"]++
		default:
			count["rejected"]++
		}
	}
	for _, s := range h.restores {
		switch {
		case s.Completed != nil:
			count["restored"]++
		case s.Failed != nil:
			count["not restored"]++
		default:
			count["restore rejected"]++
		}
	}
	var out string
	for _, k := range slices.Sorted(maps.Keys(count)) {
		out += fmt.Sprintf(" %s %d", k, count[k])
	}
	return fmt.Sprintf("%d events:%s", len(h.events), out)
}
