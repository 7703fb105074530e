package backup_test

import (
	"testing"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/eventstest"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// TestEvict takes out who has ended, and a backup that nobody can end; a restore that
// cannot be read may have changed something, so it stays.
func TestEvict(t *testing.T) {
	ended := events.BackupFailed{Attempt: 1, Final: true}
	broken := events.Broken{Type: "x", Err: events.ErrBroken}
	for _, c := range []struct {
		what  string
		kind  string
		event events.Event
		stays bool
	}{
		{"a backup that runs", events.KindBackup, events.BackupStarted{Attempt: 1}, true},
		{"a backup that has ended", events.KindBackup, ended, false},
		{"a backup with a broken event", events.KindBackup, broken, false},
		{"a restore with a broken event", events.KindRestore, broken, true},
	} {
		log := &eventstest.Log{}
		h := events.Holder{Kind: c.kind, ID: c.kind + "-x", Exclusive: c.kind == events.KindRestore}
		if _, err := log.Append(t.Context(), events.Aggregate{Project: "p", Kind: c.kind, ID: h.ID}, 0, c.event, events.Cause{}); err != nil {
			t.Fatal(err)
		}
		if _, err := log.Append(t.Context(), events.SlotAggregate("p"), 0, events.SlotAcquired{Holder: h, Holders: []events.Holder{h}}, events.Cause{}); err != nil {
			t.Fatal(err)
		}
		if err := backup.Evict(t.Context(), log, "p", events.Cause{}); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		last, err := log.Last(t.Context(), events.SlotAggregate("p"))
		if err != nil {
			t.Fatal(err)
		}
		if n := len((backup.Slot{}).Apply(last).Holders); (n == 1) != c.stays {
			t.Errorf("%s: %d holders", c.what, n)
		}
	}
}
