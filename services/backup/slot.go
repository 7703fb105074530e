package backup

import (
	"slices"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
)

// Slot is who works on a project just now: any number of backups, or one restore
// alone, which may still be waiting for the backups to end. Every event of a slot carries all holders, so only the last is read.
type Slot struct {
	Holders  []events.Holder
	Revision events.Revision // of the newest event
}

// Apply implements [events.State].
func (s Slot) Apply(env events.Envelope) Slot {
	switch e := env.Event.(type) {
	case events.SlotAcquired:
		return Slot{e.Holders, env.Revision}
	case events.SlotReleased:
		return Slot{e.Holders, env.Revision}
	}
	return s
}

// Acquire decides whether h gets the slot. It returns a Conflict while an exclusive
// holder is there. An exclusive h gets it beside holders that share, so that no new
// ones come, but must wait until it is [Slot.Alone].
func Acquire(s Slot, h events.Holder) (events.Event, error) {
	if slices.Contains(s.Holders, h) {
		return nil, events.ErrNoChange
	}
	for _, other := range s.Holders {
		if other.Exclusive {
			return nil, fault.Errorf(fault.Conflict, "The %s %s works on the project", other.Kind, other.ID)
		}
	}
	return events.SlotAcquired{Holder: h, Holders: append(slices.Clone(s.Holders), h)}, nil
}

// Alone reports whether h is the only holder.
func (s Slot) Alone(h events.Holder) bool { return len(s.Holders) == 1 && s.Holders[0] == h }

// Release decides that h gives the slot back.
func Release(s Slot, h events.Holder) (events.Event, error) {
	i := slices.Index(s.Holders, h)
	if i < 0 {
		return nil, events.ErrNoChange
	}
	return events.SlotReleased{Holder: h, Holders: slices.Delete(slices.Clone(s.Holders), i, i+1)}, nil
}
