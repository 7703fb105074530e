package events_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
)

var update = flag.Bool("update", false, "write the golden files")

var (
	holder    = events.Holder{Kind: events.KindBackup, ID: "backup-aaaaaaaaaaaaaaaaaaaaaaaaaa"}
	keptUntil = time.Date(2026, 1, 20, 2, 0, 0, 0, time.UTC)
	samples   = []events.Event{
		events.BackupRequested{Pool: "default", Type: "full", Destination: "local", Encrypt: true, Origin: "manual", BodyHash: "ab"},
		events.BackupRejected{Code: "project_not_found", Message: "Project not found"},
		events.BackupStarted{Attempt: 1, Worker: "host-1"},
		events.BackupCompleted{
			Attempt: 1, Pool: "default", Key: "p/2026-01-19-full-aaaaaaaaaa.tar.gz", Path: "/b/p/2026-01-19-full-aaaaaaaaaa.tar.gz",
			Size: 52428800, SHA256: "00ff", ManifestSHA256: "11ff", Parts: []events.Part{{Name: "database", Bytes: 1, Entries: 2}},
			Warnings: []events.Warning{{Code: "file_vanished", Count: 2, Sentence: "2 files vanished."}},
		},
		events.BackupFailed{Attempt: 3, Reason: events.ReasonSource, Message: "The database is gone.", Retryable: true, Final: true},
		events.BackupCancelRequested{},
		events.BackupCancelled{Attempt: 1},
		events.BackupVerified{OK: false, Message: "The object is missing."},
		events.BackupAdopted{
			Pool: "default", Type: "full", Destination: "s3", CreatedAt: time.Date(2026, 1, 19, 2, 0, 0, 0, time.UTC), EndedAt: time.Date(2026, 1, 19, 2, 2, 0, 0, time.UTC),
			Completed: events.BackupCompleted{Attempt: 1, Pool: "default", Key: "p/2026-01-19-full-abcdefghij.tar.gz", Path: "s3://b/p/2026-01-19-full-abcdefghij.tar.gz", Size: 1, SHA256: "00"},
		},
		events.BackupHeld{},
		events.BackupReleased{},
		events.BackupDeleteRequested{},
		events.BackupDeleteFailed{Reason: events.ReasonDestination, Message: "Permission denied."},
		events.BackupDeleted{},
		events.RestoreRequested{Pool: "default", Backup: "backup-aaaaaaaaaaaaaaaaaaaaaaaaaa", BackupProject: "my-project", Parts: []string{"database"}, Force: true, Safety: true, DryRun: true, BodyHash: "ab"},
		events.RestoreRejected{Code: "conflict", Message: "Another restore of the project is running"},
		events.RestoreStarted{Attempt: 1, Worker: "host-1"},
		events.RestoreStageCompleted{Attempt: 1, Stage: "built"},
		events.RestoreCompleted{
			Attempt: 1, Warnings: []events.Warning{{Code: "role_made", Count: 1, Sentence: "The role a was made."}}, KeptUntil: &keptUntil,
			Plan: &events.RestorePlan{Replaces: []string{"The database"}, Checks: []events.RestoreCheck{{Name: "sums", OK: true, Sentence: "All sums are right."}}, Bytes: 1, Seconds: 2},
		},
		events.RestoreFailed{
			Attempt: 2, Reason: events.ReasonRefused, Message: "3 sessions are connected.", State: "unchanged", Final: true, Retryable: true,
			Checks: []events.RestoreCheck{{Name: "sessions", Forced: true, Sentence: "3 sessions are connected."}},
		},
		events.RestoreCancelRequested{},
		events.RestoreCancelled{Attempt: 1},
		events.RestoreUndoRequested{},
		events.RestoreUndone{},
		events.RestoreUndoFailed{Reason: events.ReasonSource, Message: "Sessions connect all the time."},
		events.RestoreOldDropped{},
		events.ProjectRegistered{
			Name: "My Project", Pool: "default", Parts: []string{"database", "storage"}, Destinations: []string{"local"},
			DefaultDestination: "local", CanEncrypt: true,
		},
		events.ProjectRemoved{},
		events.SlotAcquired{Holder: holder, Holders: []events.Holder{holder}},
		events.SlotReleased{Holder: holder, Holders: []events.Holder{}},
		events.RequestClaimed{Fingerprint: "00ff"},
		events.LogAccepted{Reason: "the disk was lost", Missing: []events.Gap{{First: 10, Last: 19}}, Replaced: []events.LogState{{Identity: "2026-01-19T02:00:00Z", Last: 20}}},
	}
)

// TestGolden holds every event's wire form against testdata, both ways.
func TestGolden(t *testing.T) {
	for _, e := range samples {
		t.Run(e.EventType(), func(t *testing.T) {
			env := envelope(e)
			headers, data, err := events.Marshal(env)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(map[string]any{"headers": headers, "data": json.RawMessage(data)}, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			file := filepath.Join("testdata", e.EventType()+".json")
			if *update {
				if err := os.WriteFile(file, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			back, err := events.Unmarshal(env.Aggregate, env.Revision, func(k string) string { return headers[k] }, data)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(back, env) {
				t.Errorf("read back\n%#v\nwant\n%#v", back, env)
			}
		})
	}
}

// TestEveryTypeHasAGolden fails when a golden file has no sample, so that a
// removed event type is noticed: contracts only grow.
func TestEveryTypeHasAGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(samples) || events.KnownTypes() != len(samples) {
		t.Errorf("%d golden files, %d samples, %d decoders: want the same number", len(files), len(samples), events.KnownTypes())
	}
}

func TestUnknownTypeKeepsItsData(t *testing.T) {
	env := envelope(events.Unknown{Type: "backup.frozen.v9", Data: json.RawMessage(`{"a":1}`)})
	headers, data, err := events.Marshal(env)
	if err != nil {
		t.Fatal(err)
	}
	back, err := events.Unmarshal(env.Aggregate, env.Revision, func(k string) string { return headers[k] }, data)
	if err != nil || !reflect.DeepEqual(back, env) {
		t.Errorf("got %#v, %v; want %#v", back, err, env)
	}
}

func TestAddedFieldsAreIgnored(t *testing.T) {
	headers, _, err := events.Marshal(envelope(events.BackupStarted{}))
	if err != nil {
		t.Fatal(err)
	}
	back, err := events.Unmarshal(events.Aggregate{}, 1, func(k string) string { return headers[k] }, []byte(`{"attempt":2,"worker":"w","mood":"good"}`))
	if want := (events.BackupStarted{Attempt: 2, Worker: "w"}); err != nil || back.Event != want {
		t.Errorf("got %v, %v; want %v", back.Event, err, want)
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add("dev.holdfast.backup.started.v1", "2026-01-19T02:00:00Z", []byte(`{"attempt":1}`))
	f.Fuzz(func(_ *testing.T, typ, at string, data []byte) {
		get := func(k string) string { return map[string]string{"ce-type": typ, "ce-time": at}[k] }
		_, _ = events.Unmarshal(events.Aggregate{}, 1, get, data) // must not panic
	})
}

func envelope(e events.Event) events.Envelope {
	return events.Envelope{
		ID:        "0190aaaa-0000-7000-8000-000000000000",
		Aggregate: events.BackupAggregate("my-project", holder.ID),
		Revision:  7,
		Time:      time.Date(2026, 1, 19, 2, 0, 0, 5000, time.UTC),
		Cause:     events.Cause{CorrelationID: "req-1", CausationID: "cmd-1", Actor: "key:ci"},
		Event:     e,
	}
}
