package backup

import "github.com/holdfast-dev/holdfast/events"

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
