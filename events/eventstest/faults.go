package eventstest

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
)

// TestFaults checks that a log whose answers do not come, break off or are old
// never passes off a part of an aggregate as the whole of it. open returns an empty
// log and what makes its reads go wrong.
func TestFaults(t *testing.T, open func(t *testing.T) (events.Log, func(Fault))) {
	t.Helper()
	for _, f := range Faults() {
		t.Run(f.String(), func(t *testing.T) {
			log, set := open(t)
			a := events.BackupAggregate("p", "backup-a")
			const n = 40
			last := mustAppend(t, log, a, 0, events.BackupRequested{Type: "full"}, events.Cause{}).Revision
			for i := range n - 1 {
				last = mustAppend(t, log, a, last, events.BackupStarted{Attempt: i}, events.Cause{}).Revision
			}
			known := events.AtLeast(log, a, last)
			set(f)
			got, err := read(t, known, a)
			if err != nil && !errors.Is(err, events.ErrUnavailable) {
				t.Errorf("read: %v", err)
			}
			if err == nil && got != n {
				t.Errorf("read %d of %d events without an error", got, n)
			}
			env, err := known.Last(t.Context(), a)
			if err == nil && env.Revision != last || err != nil && !errors.Is(err, events.ErrUnavailable) {
				t.Errorf("last: revision %d, %v; want %d", env.Revision, err, last)
			}
			set(None)
			for deadline := time.Now().Add(30 * time.Second); ; {
				if got, err = read(t, known, a); err == nil || time.Now().After(deadline) {
					break
				}
			}
			if got != n || err != nil {
				t.Errorf("afterwards: read %d of %d events, %v", got, n, err)
			}
		})
	}
}

// read counts the events of a that a log yields before it ends.
func read(t *testing.T, log events.Log, a events.Aggregate) (n int, err error) {
	t.Helper()
	for _, err := range log.Read(t.Context(), a, 0) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
