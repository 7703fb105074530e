package backup

import (
	"slices"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
)

// Slot is who works on a project just now: any number of backups, or one restore
// alone. Every event of a slot carries all holders, so only the last is read.
type Slot struct{ Holders []events.Holder }

// Apply implements [events.State].
func (s Slot) Apply(env events.Envelope) Slot {
	switch e := env.Event.(type) {
	case events.SlotAcquired:
		return Slot{e.Holders}
	case events.SlotReleased:
		return Slot{e.Holders}
	}
	return s
}

// Acquire decides whether h gets the slot. It returns a Conflict while somebody
// else is there with whom h cannot share.
func Acquire(s Slot, h events.Holder) (events.Event, error) {
	if slices.Contains(s.Holders, h) {
		return nil, events.ErrNoChange
	}
	for _, other := range s.Holders {
		if other.Exclusive || h.Exclusive {
			return nil, fault.Errorf(fault.Conflict, "%s %s works on the project", other.Kind, other.ID)
		}
	}
	return events.SlotAcquired{Holder: h, Holders: append(slices.Clone(s.Holders), h)}, nil
}

// Release decides that h gives the slot back.
func Release(s Slot, h events.Holder) (events.Event, error) {
	i := slices.Index(s.Holders, h)
	if i < 0 {
		return nil, events.ErrNoChange
	}
	return events.SlotReleased{Holder: h, Holders: slices.Delete(slices.Clone(s.Holders), i, i+1)}, nil
}
