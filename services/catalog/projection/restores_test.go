package projection_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/eventstest"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/services/catalog"
)

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
	b, err := p.Get(t.Context(), catalog.Get{ID: "backup-x", Min: rev})
	if err != nil || len(b.Restores) != 2 || b.Restores[0].ID != "restore-a" || b.Restores[1].State != "unchanged" || b.Restores[1].Error != "No." {
		t.Errorf("restores of the backup: %+v, %v", b.Restores, err)
	}
	m, err := p.Figures(t.Context(), catalog.Figures{})
	if err != nil || len(m.Restores) != 2 || m.Restores[0].Status != catalog.Completed || m.Restores[1].Status != catalog.Failed {
		t.Fatalf("figures %+v, %v", m.Restores, err)
	}
	for i, ended := range []time.Time{b.Restores[0].Ended, b.Restores[1].Ended} {
		if r := m.Restores[i]; r.Project != "q" || r.Count != 1 || !r.Ended.Equal(ended) {
			t.Errorf("figures %+v, want an end at %s", r, ended)
		}
	}
	if _, err := p.Restore(t.Context(), catalog.GetRestore{ID: "restore-no"}); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("a rejected restore: %v", err)
	}
}
