package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/catalog"
	"github.com/holdfast-dev/holdfast/services/catalog/projection"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// TestAnswersOfTheCatalogArrive asks a catalog through NATS for a backup that was
// restored often, and for lists of large rows.
func TestAnswersOfTheCatalogArrive(t *testing.T) {
	srv, err := bus.StartServer(bus.ServerConfig{Dir: t.TempDir(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	b, err := bus.Connect(t.Context(), srv, bus.Config{Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	id, last := fillLog(t, b.Log())
	p := projection.New(filepath.Join(t.TempDir(), "catalog.db"), b.Log(), zap.NewNop())
	q, err := b.NewQueries("test-catalog")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(bus.Answer(q, catalog.SubjectList, p.List), bus.Answer(q, catalog.SubjectGet, p.Get), bus.Answer(q, catalog.SubjectProjects, p.Projects), bus.Answer(q, catalog.SubjectFigures, p.Figures)); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		end()
		_ = errors.Join(<-ended, q.Close())
	})
	c := catalog.Client{Ask: b.Ask}
	got, err := c.Get(t.Context(), catalog.Get{ID: id, Min: last, History: &catalog.AskHistory{}})
	if err != nil || got.History == nil || got.History.Total != manyRestores || !got.History.More {
		t.Errorf("a backup that was restored often: %+v, %v", got.History, err)
	}
	page, err := c.List(t.Context(), catalog.List{Limit: catalog.MaxLimit, Min: last})
	if err != nil || len(page.Backups) != catalog.MaxLimit {
		t.Errorf("a list: %d rows, %v", len(page.Backups), err)
	}
	projects, err := c.Projects(t.Context(), catalog.Projects{Min: last})
	if err != nil || len(projects) != manyProjects {
		t.Errorf("projects: %d, %v", len(projects), err)
	}
	if m, err := c.Figures(t.Context(), catalog.Figures{}); err != nil || len(m.Backups) == 0 {
		t.Errorf("figures: %v", err)
	}
}

const (
	manyRestores = 110
	manyProjects = 600
)

// fillLog appends what makes large answers, and returns the id of a backup that was
// restored often.
func fillLog(t *testing.T, log events.Log) (id string, last events.Revision) {
	t.Helper()
	put := func(a events.Aggregate, es ...events.Event) {
		rev := events.Revision(0)
		for _, e := range es {
			env, err := log.Append(t.Context(), a, rev, e, events.Cause{})
			if err != nil {
				t.Fatal(err)
			}
			rev, last = env.Revision, env.Revision
		}
	}
	asked := events.BackupRequested{Pool: "default", Type: "full", Destination: "local"}
	for range catalog.MaxLimit {
		put(events.BackupAggregate("p", backup.NewID()), asked, events.BackupFailed{Attempt: 0, Final: true, Message: strings.Repeat("why ", 700)})
	}
	id = backup.NewID()
	put(events.BackupAggregate("p", id), asked, events.BackupStarted{Attempt: 1}, events.BackupCompleted{Attempt: 1, Key: "k", Size: 1, SHA256: strings.Repeat("0", 64)})
	var warnings []events.Warning
	for range events.MaxWarnings {
		warnings = append(warnings, events.Warning{Code: "c", Count: 1, Sentence: strings.Repeat("long ", 100)})
	}
	for range manyRestores {
		until := time.Now().UTC()
		put(events.RestoreAggregate("p", restore.NewID()), events.RestoreRequested{Pool: "default", Backup: id, BackupProject: "p", Parts: []string{"config"}},
			events.RestoreCompleted{Attempt: 1, Warnings: warnings, KeptUntil: &until})
	}
	for i := range manyProjects {
		put(events.ProjectAggregate(fmt.Sprintf("p%d", i)), events.ProjectRegistered{Name: "P", Pool: "default", Problem: strings.Repeat("away ", 500)})
	}
	return id, last
}
