package events

import (
	"fmt"
	"strings"
	"time"
)

// Limits of the numbers in events. They are above anything that can be, and low enough
// that sums over all backups do not overflow.
const (
	MaxBytes   = 1 << 50 // of an archive or of what it holds: 1 PiB
	MaxEntries = 1 << 40 // of a part
	MaxAttempt = 1000
)

// MaxText is how many bytes a message or the sentence of a check may have.
const MaxText = 8 << 10

// LimitText cuts a message to what an event may carry.
func LimitText(s string) string {
	if len(s) <= MaxText {
		return s
	}
	const end = " … (the log of the worker says more)"
	return strings.ToValidUTF8(s[:MaxText-len(end)], "") + end
}

// The times that can be: outside of them a time has no count of nanoseconds.
const (
	minYear = 1970
	maxYear = 2200
)

// checked is an event with numbers or times that must lie within limits. One that
// breaks them is [Broken].
type checked interface{ check() error }

// CheckTime returns an error for a time outside of the years 1970 to 2200.
func CheckTime(name string, t time.Time) error {
	if y := t.UTC().Year(); y < minYear || y > maxYear {
		return fmt.Errorf("%s is in the year %d, not between %d and %d", name, y, minYear, maxYear)
	}
	return nil
}

func within(name string, n, most int64) error {
	if n < 0 || n > most {
		return fmt.Errorf("%s is %d, not between 0 and %d", name, n, most)
	}
	return nil
}

// first returns the first error.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func attempt(n int) error { return within("attempt", int64(n), MaxAttempt) }

func (e BackupStarted) check() error { return attempt(e.Attempt) }

func (e BackupFailed) check() error { return attempt(e.Attempt) }

func (e BackupCancelled) check() error { return attempt(e.Attempt) }

func (e RestoreStarted) check() error { return attempt(e.Attempt) }

func (e RestoreStageCompleted) check() error { return attempt(e.Attempt) }

func (e RestoreFailed) check() error { return attempt(e.Attempt) }

func (e RestoreCancelled) check() error { return attempt(e.Attempt) }

// Check returns an error if a number is outside of its limits.
func (e BackupCompleted) Check() error {
	err := first(attempt(e.Attempt), within("size", e.Size, MaxBytes))
	for _, p := range e.Parts {
		err = first(err, within("bytes of "+p.Name, p.Bytes, MaxBytes), within("entries of "+p.Name, p.Entries, MaxEntries))
	}
	return first(err, checkWarnings(e.Warnings))
}

func (e BackupCompleted) check() error { return e.Check() }

func (e BackupAdopted) check() error {
	return first(CheckTime("created_at", e.CreatedAt), CheckTime("ended_at", e.EndedAt), e.Completed.Check())
}

func (e RestoreCompleted) check() error {
	err := first(attempt(e.Attempt), checkWarnings(e.Warnings))
	if e.KeptUntil != nil {
		err = first(err, CheckTime("kept_until", *e.KeptUntil))
	}
	if p := e.Plan; p != nil {
		err = first(err, within("bytes", p.Bytes, maxParts*MaxBytes), within("seconds", p.Seconds, maxParts*MaxBytes))
	}
	return err
}

// maxParts is more than the parts of an archive.
const maxParts = 64

func checkWarnings(ws []Warning) error {
	for _, w := range ws {
		if err := within("count of the warning "+w.Code, int64(w.Count), MaxEntries); err != nil {
			return err
		}
	}
	return nil
}
