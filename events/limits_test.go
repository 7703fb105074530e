package events_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/holdfast-dev/holdfast/events"
)

// TestNumbersThatCannotBeAreBroken puts numbers and times into events that overflow
// where they are added up or turned into nanoseconds.
func TestNumbersThatCannotBeAreBroken(t *testing.T) {
	then := time.Date(2262, 4, 12, 0, 0, 0, 0, time.UTC)
	now := time.Date(2026, 1, 19, 2, 0, 0, 0, time.UTC)
	part := func(bytes, entries int64) events.BackupCompleted {
		return events.BackupCompleted{Attempt: 1, Size: 1, Parts: []events.Part{{Name: "config", Bytes: bytes, Entries: entries}}}
	}
	for name, e := range map[string]events.Event{
		"size":               events.BackupCompleted{Attempt: 1, Size: 1 << 62},
		"negative size":      events.BackupCompleted{Attempt: 1, Size: -1},
		"bytes of a part":    part(1<<62, 1),
		"negative bytes":     part(-1, 1),
		"entries of a part":  part(1, 1<<62),
		"count of a warning": events.BackupCompleted{Attempt: 1, Warnings: []events.Warning{{Code: "c", Count: -1}}},
		"attempt":            events.BackupStarted{Attempt: 1 << 40},
		"negative attempt":   events.BackupStarted{Attempt: -1},
		"restore's attempt":  events.RestoreStarted{Attempt: 1 << 40},
		"created_at":         events.BackupAdopted{CreatedAt: then, EndedAt: now},
		"ended_at":           events.BackupAdopted{CreatedAt: now, EndedAt: then},
		"zero time":          events.BackupAdopted{EndedAt: now},
		"adopted size":       events.BackupAdopted{CreatedAt: now, EndedAt: now, Completed: events.BackupCompleted{Size: 1 << 62}},
		"kept_until":         events.RestoreCompleted{Attempt: 1, KeptUntil: &then},
		"plan":               events.RestoreCompleted{Attempt: 1, Plan: &events.RestorePlan{Bytes: 1 << 62}},
	} {
		env := envelope(e)
		headers, data, err := events.Marshal(env)
		if err != nil {
			t.Fatal(err)
		}
		got, err := events.Unmarshal(env.Aggregate, 1, func(h string) string { return headers[h] }, data)
		if _, ok := got.Event.(events.Broken); !ok || !errors.Is(err, events.ErrBroken) {
			t.Errorf("%s: %+v, %v", name, got.Event, err)
		}
	}
	env := envelope(events.BackupHeld{})
	env.Time = then
	headers, data, err := events.Marshal(env)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := events.Unmarshal(env.Aggregate, 1, func(h string) string { return headers[h] }, data); !errors.Is(err, events.ErrBroken) {
		t.Errorf("an event of the year 2262: %v", err)
	}
}

func TestChecksAndMessagesFitIntoAnEvent(t *testing.T) {
	var checks []events.RestoreCheck
	for i := range 3000 {
		checks = append(checks, events.RestoreCheck{Name: "c", OK: i != 2500, Sentence: strings.Repeat("ä", i*5)})
	}
	got := events.LimitChecks(checks)
	raw, err := json.Marshal(got)
	if err != nil || len(raw) > 128<<10 || len(got) < 20 || len(got) > events.MaxChecks {
		t.Fatalf("%d checks of %d bytes, %v", len(got), len(raw), err)
	}
	if !slices.ContainsFunc(got, func(c events.RestoreCheck) bool { return !c.OK }) {
		t.Error("the one that failed was left out")
	}
	if s := events.LimitText(strings.Repeat("ä", 10_000)); len(s) > events.MaxText || !utf8.ValidString(s) {
		t.Errorf("a message of %d bytes", len(s))
	}
	if s := events.LimitText("short"); s != "short" {
		t.Errorf("got %q", s)
	}
}
