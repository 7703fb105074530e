package backup

import (
	"context"
	"errors"

	"github.com/holdfast-dev/holdfast/events"
)

// Holding is whether what holds a slot still works: a backup, or a restore. A holder
// that does not may be taken out by anybody.
type Holding struct {
	Ended   bool
	Undoing bool
}

// Apply implements [events.State].
func (h Holding) Apply(env events.Envelope) Holding {
	switch e := env.Event.(type) {
	case events.BackupCompleted, events.BackupCancelled, events.BackupDeleted, events.RestoreCompleted, events.RestoreCancelled:
		h.Ended = true
	case events.BackupFailed:
		h.Ended = h.Ended || e.Final
	case events.RestoreFailed:
		h.Ended = h.Ended || e.Final
	case events.RestoreUndoRequested:
		h.Undoing = true
	case events.RestoreUndone, events.RestoreUndoFailed:
		h.Undoing = false
	}
	return h
}

// Evict takes holders out of the slot of a project that have ended without giving it
// back. So is a backup with an event that cannot be decoded: nobody can do or end it.
func Evict(ctx context.Context, log events.Log, project string, cause events.Cause) error {
	env, err := log.Last(ctx, events.SlotAggregate(project))
	if errors.Is(err, events.ErrNoEvent) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, h := range (Slot{}).Apply(env).Holders {
		holding, err := HoldingOf(ctx, log, events.Aggregate{Project: project, Kind: h.Kind, ID: h.ID})
		switch {
		case errors.Is(err, events.ErrBroken) && h.Kind == events.KindBackup:
		case errors.Is(err, events.ErrBroken):
			continue // a restore may have changed something
		case err != nil:
			return err
		case !holding.Ended || holding.Undoing:
			continue
		}
		_, err = events.UpdateLast(ctx, log, events.SlotAggregate(project), cause, func(s Slot) (events.Event, error) { return Release(s, h) })
		if err != nil && !errors.Is(err, events.ErrNoChange) {
			return err
		}
	}
	return nil
}

// HoldingOf returns whether what may hold a slot still works.
func HoldingOf(ctx context.Context, log events.Log, a events.Aggregate) (holding Holding, err error) {
	for env, err := range log.Read(ctx, a, 0) {
		if err != nil {
			return holding, err
		}
		holding = holding.Apply(env)
	}
	return holding, nil
}
