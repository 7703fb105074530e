package projection_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/eventstest"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/services/catalog"
	"github.com/holdfast-dev/holdfast/services/catalog/projection"
)

// run starts a projection and returns a way to stop it.
func run(t *testing.T, path string, log *eventstest.Log) (p *projection.Projection, stop func()) {
	t.Helper()
	p = projection.New(path, log, zap.NewNop())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	return p, stop
}

// record appends events to a backup.
func record(t *testing.T, log *eventstest.Log, project, id string, es ...events.Event) (last events.Revision) {
	t.Helper()
	a := events.BackupAggregate(project, id)
	if env, err := log.Last(t.Context(), a); err == nil {
		last = env.Revision
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

func request(dest, typ string) events.BackupRequested {
	return events.BackupRequested{Pool: "default", Type: typ, Destination: dest, Origin: "manual"}
}

var (
	started   = events.BackupStarted{Attempt: 1}
	completed = events.BackupCompleted{Attempt: 1, Pool: "default", Key: "k", Path: "/k", Size: 100, SHA256: "ab", Warnings: []events.Warning{{Code: "c", Count: 1}}}
	failed    = events.BackupFailed{Attempt: 1, Reason: events.ReasonSource, Message: "No.", Final: true}
)

func TestABackupsLife(t *testing.T) {
	log := &eventstest.Log{Name: "one"}
	p, stop := run(t, filepath.Join(t.TempDir(), "100%#?.db"), log)
	defer stop()
	if _, err := log.Append(t.Context(), events.ProjectAggregate("p"), 0, events.ProjectRegistered{Name: "P"}, events.Cause{}); err != nil {
		t.Fatal(err)
	}
	record(t, log, "p", "backup-x", events.BackupRejected{Code: "c"})
	for i, step := range []struct {
		e    events.Event
		want catalog.Status
	}{
		{request("local", "full"), catalog.Pending},
		{started, catalog.InProgress},
		{events.BackupFailed{Attempt: 1, Retryable: true}, catalog.Pending},
		{events.BackupStarted{Attempt: 2}, catalog.InProgress},
		{completed, catalog.Completed},
		{events.Unknown{Type: "backup.frozen.v1"}, catalog.Completed},
		{events.BackupHeld{}, catalog.Completed},
		{events.BackupDeleteRequested{}, catalog.Completed},
	} {
		rev := record(t, log, "p", "backup-a", step.e)
		b, err := p.Get(t.Context(), catalog.Get{ID: "backup-a", Min: rev})
		if err != nil || b.Status != step.want || b.Revision != rev || b.ProjectName != "P" {
			t.Errorf("step %d: %+v, %v; want %s", i, b, err, step.want)
		}
	}
	b, err := p.Get(t.Context(), catalog.Get{ID: "backup-a"})
	if err != nil || b.Size != 100 || b.Key != "k" || len(b.Warnings) != 1 || !b.Held || b.Ended.IsZero() {
		t.Errorf("%+v, %v", b, err)
	}
	page, err := p.List(t.Context(), catalog.List{Limit: 10, Stats: true})
	want := &catalog.Stats{Count: 1, Size: 100, ByDestination: map[string]catalog.Total{"local": {Count: 1, Size: 100}}}
	if err != nil || page.Total != 1 || len(page.Backups) != 1 || !reflect.DeepEqual(page.Stats, want) {
		t.Errorf("%+v, %v", page, err)
	}
	rev := record(t, log, "p", "backup-a", events.BackupDeleted{})
	if _, err := p.Get(t.Context(), catalog.Get{ID: "backup-a", Min: rev}); fault.CodeOf(err) != fault.BackupNotFound {
		t.Errorf("deleted: %v", err)
	}
	page, err = p.List(t.Context(), catalog.List{Limit: 10, Stats: true})
	if err != nil || page.Total != 0 || len(page.Stats.ByDestination) != 0 || page.Backups == nil {
		t.Errorf("after deletion: %+v, %v", page, err)
	}
}

// TestListsAgreeWithAPlainCount compares every combination of filters with a
// count by hand.
func TestListsAgreeWithAPlainCount(t *testing.T) {
	log := &eventstest.Log{Name: "one"}
	rnd := rand.New(rand.NewPCG(1, 2))
	var last events.Revision
	projects, dests, types := []string{"p", "q"}, []string{"local", "s3"}, []string{"full", "config"}
	for i := range 200 {
		es := []events.Event{request(dests[rnd.IntN(2)], types[rnd.IntN(2)]), started, completed}
		if rnd.IntN(4) == 0 {
			es[2] = failed
		}
		last = record(t, log, projects[rnd.IntN(2)], fmt.Sprintf("backup-%03d", i), es[:1+rnd.IntN(3)]...)
	}
	p, stop := run(t, filepath.Join(t.TempDir(), "c.db"), log)
	defer stop()
	all, err := p.List(t.Context(), catalog.List{Limit: 500, Min: last})
	if err != nil || len(all.Backups) != 200 || all.More {
		t.Fatalf("%d backups, %v", len(all.Backups), err)
	}
	for i, b := range all.Backups {
		if i > 0 && !all.Backups[i-1].Created.After(b.Created) && all.Backups[i-1].ID < b.ID {
			t.Fatalf("not newest first at %d", i)
		}
	}
	mid := all.Backups[100].Created
	for n := range 2 * 2 * 2 * 2 * 3 {
		f := catalog.Filter{}
		pick := func(shift int) bool { return n>>shift&1 == 1 }
		if pick(0) {
			f.Project = "p"
		}
		if pick(1) {
			f.Status = catalog.Completed
		}
		if pick(2) {
			f.Destination = "s3"
		}
		if pick(3) {
			f.Type = "full"
		}
		switch n / 16 {
		case 1:
			f.CreatedAfter = mid
		case 2:
			f.CreatedBefore = mid
		}
		checkFilter(t, p, all.Backups, f)
	}
}

func checkFilter(t *testing.T, p *projection.Projection, all []catalog.Backup, f catalog.Filter) {
	t.Helper()
	var want []string
	var size int64
	for _, b := range all {
		if (f.Project == "" || b.Project == f.Project) && (f.Status == "" || b.Status == f.Status) && (f.Destination == "" || b.Destination == f.Destination) &&
			(f.Type == "" || b.Type == f.Type) && (f.CreatedAfter.IsZero() || b.Created.After(f.CreatedAfter)) && (f.CreatedBefore.IsZero() || b.Created.Before(f.CreatedBefore)) {
			want, size = append(want, b.ID), size+b.Size
		}
	}
	var byOffset, byCursor []string
	var after *catalog.Cursor
	for {
		page, err := p.List(t.Context(), catalog.List{Filter: f, Limit: 7, Offset: len(byOffset), Stats: true})
		if err != nil || page.Total != int64(len(want)) || page.Stats.Count != int64(len(want)) || page.Stats.Size != size {
			t.Fatalf("%+v: total %d, stats %+v, %v; want %d and %d bytes", f, page.Total, page.Stats, err, len(want), size)
		}
		next, err := p.List(t.Context(), catalog.List{Filter: f, Limit: 7, After: after})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range page.Backups {
			byOffset = append(byOffset, b.ID)
		}
		for _, b := range next.Backups {
			byCursor = append(byCursor, b.ID)
			after = &catalog.Cursor{Created: b.Created, ID: b.ID}
		}
		if !page.More {
			break
		}
	}
	if !slices.Equal(byOffset, want) || !slices.Equal(byCursor, want) {
		t.Errorf("%+v: %v and %v, want %v", f, byOffset, byCursor, want)
	}
}

func TestRestartGoesOnWhereItWas(t *testing.T) {
	log, path := &eventstest.Log{Name: "one"}, filepath.Join(t.TempDir(), "c.db")
	rev := record(t, log, "p", "backup-a", request("local", "full"), started, completed)
	p, stop := run(t, path, log)
	if _, err := p.Get(t.Context(), catalog.Get{ID: "backup-a", Min: rev}); err != nil {
		t.Fatal(err)
	}
	stop()
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	rev = record(t, log, "p", "backup-b", request("local", "full"))
	p, stop = run(t, path, log)
	defer stop()
	page, err := p.List(t.Context(), catalog.List{Limit: 10, Min: rev})
	if err != nil || page.Total != 2 {
		t.Errorf("%+v, %v", page, err)
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was built anew: %v", err)
	}
	m, err := p.Figures(t.Context(), catalog.Figures{})
	if err != nil || m.Lag != 0 || m.Revision != rev || len(m.Durations) != 1 || m.Durations[0].Count != 1 || m.Success["p"].IsZero() {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestAnotherLogMeansAnotherFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.db")
	old := &eventstest.Log{Name: "one"}
	for i := range 10 {
		record(t, old, "p", fmt.Sprintf("backup-%d", i), request("local", "full"))
	}
	for name, log := range map[string]*eventstest.Log{
		"another identity": {Name: "two"}, "a shorter log": {Name: "one"}, "a damaged file": {Name: "one"},
	} {
		p, stop := run(t, path, old)
		if _, err := p.List(t.Context(), catalog.List{Limit: 1, Min: 10}); err != nil {
			t.Fatal(err)
		}
		stop()
		if name == "a damaged file" {
			if err := os.WriteFile(path, []byte("this is not a database, not at all, by no means"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		rev := record(t, log, "p", "backup-new", request("local", "full"))
		p, stop = run(t, path, log)
		page, err := p.List(t.Context(), catalog.List{Limit: 10, Min: rev})
		if err != nil || page.Total != 1 || page.Backups[0].ID != "backup-new" {
			t.Errorf("%s: %+v, %v", name, page, err)
		}
		stop()
	}
}

func TestAQuestionWaitsForItsRevision(t *testing.T) {
	log := &eventstest.Log{Name: "one"}
	p, stop := run(t, filepath.Join(t.TempDir(), "c.db"), log)
	defer stop()
	time.AfterFunc(100*time.Millisecond, func() { record(t, log, "p", "backup-a", request("local", "full")) })
	if _, err := p.Get(t.Context(), catalog.Get{ID: "backup-a", Min: 1}); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Get(ctx, catalog.Get{ID: "backup-a", Min: 99}); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("got %v, want unavailable", err)
	}
	if _, err := p.List(t.Context(), catalog.List{Limit: 501}); fault.CodeOf(err) != fault.Invalid {
		t.Errorf("got %v, want invalid", err)
	}
	if err := errors.Join(p.Ready(t.Context())); err != nil {
		t.Error(err)
	}
}
