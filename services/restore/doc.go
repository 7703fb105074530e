// Package restore is the language of restores: the commands that ask for them, the
// state that their events add up to, and the decisions that lead from one to the
// next. It does no I/O; package worker below it does.
//
// # A restore's life
//
//	requested -> started{1} -> stages … -> completed -> undo_requested -> undone
//	                 |                 \            \-> old_dropped
//	                 |                  \-> failed{final}
//	                 \-> started{2} after a crash
//
// The stages are built (everything lies beside what it will replace, and is
// proved), safe (what will be replaced is backed up) and ready (from here on the
// restore only goes forward: the swaps begin), or back when a swap has failed. The attempt is the fence, as for
// backups.
//
// # Errors
//
// Decisions return faults: [fault.Conflict] when the state forbids what is asked,
// [fault.IdempotencyMismatch] when an id stands for another request,
// [events.ErrFenced] when another attempt has taken over, [events.ErrNoChange]
// when all is as it should be already.
package restore
