// Package backup is the language of backups: the commands that ask for them, the
// state that their events add up to, and the decisions that lead from one to the
// next. It does no I/O; package worker below it does.
//
// # A backup's life
//
//	requested -> started{1} -> completed -> delete_requested -> deleted
//	                 |     \-> failed{final}
//	                 \-> failed -> started{2} -> …
//
// The attempt is the fence: a result is recorded only while the newest started
// event carries the attempt of who has the result. A rejected request is no
// backup, and the same id may be requested again.
//
// # Errors
//
// Decisions return faults: [fault.Conflict] when the state forbids what is asked,
// [fault.IdempotencyMismatch] when an id stands for another request,
// [events.ErrFenced] when another attempt has taken over, [events.ErrNoChange]
// when all is as it should be already.
package backup
