package projection_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/catalog"
)

// generated is a log of so many backups of 500 projects at 7 destinations over two
// years, three events each, of which 2 % failed. It is made while it is read.
type generated struct{ backups int }

func (g generated) State(context.Context) (events.LogState, error) {
	return events.LogState{Identity: "generated", Last: events.Revision(3 * g.backups)}, nil
}

func (g generated) Follow(ctx context.Context, after events.Revision, f func([]events.Envelope) error) error {
	begin, step := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), 2*365*24*time.Hour/time.Duration(g.backups)
	var batch []events.Envelope
	for r := after + 1; int(r) <= 3*g.backups; r++ {
		i := int(r-1) / 3
		e := []events.Event{request(fmt.Sprint("destination-", i%7), "full"), started, completed}[int(r-1)%3]
		if i%50 == 0 && int(r-1)%3 == 2 {
			e = failed
		}
		id := fmt.Sprintf("backup-%026x", mix(uint64(i)))
		batch = append(batch, events.Envelope{Revision: r, ID: id, Aggregate: events.BackupAggregate(fmt.Sprint("project-", i*7%500), id), Time: begin.Add(time.Duration(i) * step), Event: e})
		if len(batch) == 10_000 || int(r) == 3*g.backups {
			if err := f(batch); err != nil {
				return err
			}
			batch = nil
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// BenchmarkRebuild builds a catalog of 333,000 backups.
func BenchmarkRebuild(b *testing.B) {
	for b.Loop() {
		p, stop := begin(b, filepath.Join(b.TempDir(), "c.db"), generated{333_000})
		wait(b, p)
		stop()
	}
}

func wait(b *testing.B, p interface{ Ready(context.Context) error }) {
	b.Helper()
	for p.Ready(b.Context()) != nil {
		time.Sleep(time.Millisecond)
	}
}

// BenchmarkList asks a catalog of 333,000 backups.
func BenchmarkList(b *testing.B) {
	p, stop := begin(b, filepath.Join(b.TempDir(), "c.db"), generated{333_000})
	defer stop()
	wait(b, p)
	mid := time.Date(2024, 9, 1, 1, 2, 3, 0, time.UTC)
	for name, q := range map[string]catalog.List{
		"all": {}, "stats": {Stats: true}, "project": {Filter: catalog.Filter{Project: "project-3"}, Stats: true},
		"failed at a destination": {Filter: catalog.Filter{Status: catalog.Failed, Destination: "destination-3"}, Stats: true},
		"five projects":           {Filter: catalog.Filter{Only: []string{"project-1", "project-2", "project-3", "project-4", "project-5"}}, Stats: true},
		"offset 10,000":           {Offset: 10_000}, "offset 166,000": {Offset: 166_000},
		"since":                     {Filter: catalog.Filter{CreatedAfter: mid}, Stats: true},
		"a project's, until":        {Filter: catalog.Filter{Project: "project-3", CreatedBefore: mid}, Stats: true},
		"failed, in a span of time": {Filter: catalog.Filter{Status: catalog.Failed, CreatedAfter: mid, CreatedBefore: mid.AddDate(0, 7, 0)}, Stats: true},
	} {
		b.Run(name, func(b *testing.B) {
			q.Limit = 50
			for b.Loop() {
				if page, err := p.List(b.Context(), q); err != nil || len(page.Backups) != 50 {
					b.Fatal(len(page.Backups), err)
				}
			}
		})
	}
	b.Run("get", func(b *testing.B) {
		id := fmt.Sprintf("backup-%026x", mix(1000))
		for b.Loop() {
			if _, err := p.Get(b.Context(), catalog.Get{ID: id}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// mix makes ids as random as real ones are.
func mix(n uint64) uint64 { return n * 0x9e3779b97f4a7c15 }
