package projection_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/eventstest"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/services/catalog"
)

// TestNoProjectChangesTheRowsOfAnother by events about ids that are not its own.
func TestNoProjectChangesTheRowsOfAnother(t *testing.T) {
	log := &eventstest.Log{Name: "one"}
	p, stop := run(t, filepath.Join(t.TempDir(), "c.db"), log)
	defer stop()
	record(t, log, "p", "backup-x", request("local", "full"), started, completed)
	a := events.RestoreAggregate("p", "restore-x")
	rev := events.Revision(0)
	req := events.RestoreRequested{Pool: "default", Backup: "backup-x", BackupProject: "p", Parts: []string{"config"}}
	for _, e := range []events.Event{req, events.RestoreStarted{Attempt: 1}} {
		env, err := log.Append(t.Context(), a, rev, e, events.Cause{})
		if err != nil {
			t.Fatal(err)
		}
		rev = env.Revision
	}
	want, err := p.Get(t.Context(), catalog.Get{ID: "backup-x", Min: rev})
	if err != nil {
		t.Fatal(err)
	}
	attacks := 0
	for _, e := range []events.Event{
		events.BackupAdopted{Pool: "evil", Type: "full", Destination: "local", CreatedAt: time.Now(), EndedAt: time.Now(), Completed: events.BackupCompleted{Key: "p/x"}},
		request("local", "full"), started, completed,
		events.BackupHeld{},
		events.BackupVerified{Message: "damaged"},
		events.BackupDeleted{},
		events.Broken{Type: "backup.completed.v1"},
		req,
		events.RestoreCompleted{Attempt: 1},
	} {
		a := events.BackupAggregate("thief", "backup-x")
		switch e.(type) {
		case events.RestoreRequested, events.RestoreCompleted:
			a = events.RestoreAggregate("thief", "restore-x")
		}
		rev = log.Put(events.Envelope{ID: "forged", Aggregate: a, Time: time.Now(), Event: e}).Revision
		attacks++
	}
	got, err := p.Get(t.Context(), catalog.Get{ID: "backup-x", Min: rev})
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	m, err := p.Figures(t.Context(), catalog.Figures{})
	if err != nil || m.Broken != int64(attacks) {
		t.Errorf("%d events are counted as set aside, %v; want %d", m.Broken, err, attacks)
	}
}

func TestARestoresLife(t *testing.T) {
	log := &eventstest.Log{Name: "one"}
	p, stop := run(t, filepath.Join(t.TempDir(), "c.db"), log)
	defer stop()
	record(t, log, "p", "backup-x", request("local", "full"), started, completed)
	until := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	last := events.Revision(0)
	say := func(id string, es ...events.Event) (rev events.Revision) {
		t.Helper()
		a := events.RestoreAggregate("q", id)
		if env, err := log.Last(t.Context(), a); err == nil {
			last = env.Revision
		} else {
			last = 0
		}
		for _, e := range es {
			env, err := log.Append(t.Context(), a, last, e, events.Cause{})
			if err != nil {
				t.Fatal(err)
			}
			last = env.Revision
		}
		return last
	}
	req := events.RestoreRequested{Pool: "default", Backup: "backup-x", BackupProject: "p", Parts: []string{"config"}, Force: true}
	for _, step := range []struct {
		e    events.Event
		want func(catalog.Restore) bool
	}{
		{req, func(r catalog.Restore) bool { return r.Status == catalog.Pending && r.Project == "q" && r.Forced }},
		{events.RestoreStarted{Attempt: 1}, func(r catalog.Restore) bool { return r.Status == catalog.InProgress }},
		{events.RestoreStageCompleted{Attempt: 1, Stage: "built"}, func(r catalog.Restore) bool { return r.Stage == "built" }},
		{events.RestoreFailed{Attempt: 1, Message: "No.", Retryable: true}, func(r catalog.Restore) bool { return r.Status == catalog.Pending && r.Error == "" }},
		{events.RestoreStarted{Attempt: 2}, func(r catalog.Restore) bool { return r.Status == catalog.InProgress }},
		{events.RestoreCompleted{Attempt: 2, KeptUntil: &until, Warnings: []events.Warning{{Code: "c", Count: 1, Sentence: "S."}}}, func(r catalog.Restore) bool {
			return r.Status == catalog.Completed && r.KeptUntil.Equal(until) && len(r.Warnings) == 1 && !r.Ended.IsZero()
		}},
		{events.RestoreUndone{}, func(r catalog.Restore) bool { return r.Undone }},
	} {
		rev := say("restore-a", step.e)
		r, err := p.Restore(t.Context(), catalog.GetRestore{ID: "restore-a", Min: rev})
		if err != nil || !step.want(r) || r.Revision != rev {
			t.Errorf("after %s: %+v, %v", step.e.EventType(), r, err)
		}
	}
	dry := req
	dry.DryRun = true
	say("restore-dry", dry)
	say("restore-no", events.RestoreRejected{Code: "conflict"})
	rev := say("restore-b", req, events.RestoreStarted{Attempt: 1}, events.RestoreFailed{Attempt: 1, Message: "No.", State: "unchanged", Final: true})
	failed, err := p.Restore(t.Context(), catalog.GetRestore{ID: "restore-b", Min: rev})
	if err != nil || failed.State != "unchanged" || failed.Error != "No." {
		t.Errorf("a failed restore: %+v, %v", failed, err)
	}
	b, err := p.Get(t.Context(), catalog.Get{ID: "backup-x", Min: rev, History: &catalog.AskHistory{}})
	if err != nil || b.Restoring || b.History == nil || b.History.Total != 1 || len(b.History.Restores) != 1 || b.History.Restores[0].ID != "restore-a" {
		t.Fatalf("restores of the backup: %+v, %v", b.History, err)
	}
	m, err := p.Figures(t.Context(), catalog.Figures{})
	if err != nil || len(m.Restores) != 2 || m.Restores[0].Status != catalog.Completed || m.Restores[1].Status != catalog.Failed {
		t.Fatalf("figures %+v, %v", m.Restores, err)
	}
	for i, ended := range []time.Time{b.History.Restores[0].Ended, failed.Ended} {
		if r := m.Restores[i]; r.Project != "q" || r.Count != 1 || !r.Ended.Equal(ended) {
			t.Errorf("figures %+v, want an end at %s", r, ended)
		}
	}
	if _, err := p.Restore(t.Context(), catalog.GetRestore{ID: "restore-no"}); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("a rejected restore: %v", err)
	}
}

// TestAHistoryIsPagedAndCut restores a backup 120 times, with as many and as long
// warnings as an event can carry.
func TestAHistoryIsPagedAndCut(t *testing.T) {
	log := &eventstest.Log{Name: "one"}
	p, stop := run(t, filepath.Join(t.TempDir(), "c.db"), log)
	defer stop()
	last := record(t, log, "p", "backup-x", request("local", "full"), started, completed)
	warnings := make([]events.Warning, events.MaxWarnings)
	for i := range warnings {
		warnings[i] = events.Warning{Code: "c", Count: 1, Sentence: strings.Repeat("ä", 3000)}
	}
	const restores = 120
	for i := range restores {
		project := "p"
		if i%3 == 0 {
			project = "other"
		}
		a := events.RestoreAggregate(project, fmt.Sprintf("restore-%03d", i))
		rev := events.Revision(0)
		for _, e := range []events.Event{
			events.RestoreRequested{Pool: "default", Backup: "backup-x", BackupProject: "p", Parts: []string{"config"}}, events.RestoreStarted{Attempt: 1}, events.RestoreCompleted{Attempt: 1, Warnings: warnings},
		} {
			env, err := log.Append(t.Context(), a, rev, e, events.Cause{})
			if err != nil {
				t.Fatal(err)
			}
			rev = env.Revision
		}
		last = rev
	}
	eventually(t, func() error { // the documents are large
		_, err := p.Get(t.Context(), catalog.Get{ID: "backup-x", Min: last})
		return err
	})
	for _, c := range []struct {
		only []string
		want int
	}{{nil, restores}, {[]string{"p"}, 80}, {[]string{"other", "p"}, restores}, {[]string{}, 0}} {
		var ids []string
		for ask := (catalog.AskHistory{Only: c.only}); ; {
			b, err := p.Get(t.Context(), catalog.Get{ID: "backup-x", Min: last, History: &ask})
			if err != nil {
				t.Fatal(err)
			}
			answer, err := json.Marshal(b)
			if err != nil || len(answer) > 512<<10 || b.History.Total != int64(c.want) {
				t.Fatalf("an answer of %d bytes, %v, total %d", len(answer), err, b.History.Total)
			}
			for _, r := range slices.Backward(b.History.Restores) {
				ids = append(ids, r.ID)
				if len(r.Warnings) != catalog.HistoryWarnings || r.Left != events.MaxWarnings-catalog.HistoryWarnings {
					t.Fatalf("%d warnings, %d left", len(r.Warnings), r.Left)
				}
			}
			if !b.History.More {
				break
			}
			oldest := b.History.Restores[0]
			ask.Before = &catalog.Cursor{Created: oldest.Created, ID: oldest.ID}
		}
		if len(ids) != c.want || !slices.IsSortedFunc(ids, func(a, b string) int { return strings.Compare(b, a) }) {
			t.Errorf("%v: %d restores: %v", c.only, len(ids), ids)
		}
	}
}
