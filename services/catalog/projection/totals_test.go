package projection_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/eventstest"
	"github.com/holdfast-dev/holdfast/services/catalog"
	"github.com/holdfast-dev/holdfast/services/catalog/projection"
)

// history is a log of random backups over two years, some of the same instant.
type history struct {
	log *eventstest.Log
	rnd *rand.Rand
	now time.Time
	ids map[string]string // project of each backup
}

func (h *history) put(project, id string, e events.Event) {
	h.log.Put(events.Envelope{ID: id, Aggregate: events.BackupAggregate(project, id), Time: h.now, Event: e})
}

// step appends an event or a few to a new or an old backup.
func (h *history) step() {
	if h.rnd.IntN(3) > 0 {
		h.now = h.now.Add(time.Duration(h.rnd.Int64N(int64(48 * time.Hour))))
	}
	if len(h.ids) > 0 && h.rnd.IntN(3) == 0 {
		ids := slices.Sorted(maps.Keys(h.ids))
		id := ids[h.rnd.IntN(len(ids))]
		e := []events.Event{
			events.BackupDeleted{},
			events.BackupVerified{OK: h.rnd.IntN(2) == 0},
			events.BackupHeld{},
			events.BackupStarted{Attempt: 2},
			events.Broken{Type: "backup.held.v1", Err: events.ErrBroken},
			events.BackupFailed{Attempt: 1, Final: true, Message: "No."},
		}[h.rnd.IntN(6)]
		h.put(h.ids[id], id, e)
		if _, gone := e.(events.BackupDeleted); gone && h.rnd.IntN(3) == 0 {
			h.put(h.ids[id], id, request("azure", "full")) // of the same Idempotency-Key
		}
		return
	}
	project, id := fmt.Sprintf("p%d", h.rnd.IntN(4)), fmt.Sprintf("backup-%04d", len(h.ids))
	h.ids[id] = project
	dest, typ := []string{"local", "s3"}[h.rnd.IntN(2)], []string{"full", "config"}[h.rnd.IntN(2)]
	done := events.BackupCompleted{Attempt: 1, Pool: "default", Size: h.rnd.Int64N(1000)}
	if h.rnd.IntN(10) == 0 {
		at := h.now.Add(-time.Duration(h.rnd.Int64N(int64(9000 * time.Hour))))
		h.put(project, id, events.BackupAdopted{Pool: "default", Type: typ, Destination: dest, CreatedAt: at, EndedAt: at, Completed: done})
		return
	}
	for _, e := range []events.Event{request(dest, typ), started, done}[:1+h.rnd.IntN(3)] {
		h.put(project, id, e)
	}
}

// TestTotalsEqualACount: after random histories, followed or built anew, every
// combination of filters has the totals that a count over all backups has, and every
// answer is the same to the byte.
func TestTotalsEqualACount(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			h := &history{log: &eventstest.Log{Name: "one"}, rnd: rand.New(rand.NewPCG(seed, 1)), now: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), ids: map[string]string{}}
			dir := t.TempDir()
			p, stop := run(t, filepath.Join(dir, "followed.db"), h.log)
			for range 300 {
				h.step()
				if h.rnd.IntN(40) == 0 {
					time.Sleep(3 * time.Millisecond) // so that batches end anywhere
				}
			}
			state, err := h.log.State(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			fs := filters(h)
			followed := answers(t, p, fs, state.Last)
			stop()
			p, stop = run(t, filepath.Join(dir, "rebuilt.db"), h.log)
			rebuilt := answers(t, p, fs, state.Last)
			stop()
			for i := range followed {
				if followed[i] != rebuilt[i] {
					t.Fatalf("answer %d differs:\n%s\n%s", i, followed[i], rebuilt[i])
				}
			}
		})
	}
}

// answers checks the totals of all filters and returns all answers.
func answers(t *testing.T, p *projection.Projection, fs []catalog.Filter, last events.Revision) (out []string) {
	t.Helper()
	say := func(v any, err error) {
		b, jerr := json.Marshal(v)
		if err != nil || jerr != nil {
			t.Fatal(err, jerr)
		}
		out = append(out, string(b))
	}
	all, err := p.List(t.Context(), catalog.List{Limit: catalog.MaxLimit, Min: last})
	say(all, err)
	for _, b := range all.Backups {
		one, err := p.Get(t.Context(), catalog.Get{ID: b.ID})
		say(one, err)
	}
	m, err := p.Figures(t.Context(), catalog.Figures{})
	m.Behind = 0
	say(m, err)
	for _, f := range fs {
		page, err := p.List(t.Context(), catalog.List{Filter: f, Limit: 20, Offset: 3, Stats: true})
		say(page, err)
		want := catalog.Stats{ByDestination: map[string]catalog.Total{}}
		var ids []string
		for _, b := range all.Backups {
			if !matches(f, b) {
				continue
			}
			d := want.ByDestination[b.Destination]
			want.ByDestination[b.Destination] = catalog.Total{Count: d.Count + 1, Size: d.Size + b.Size}
			want.Count, want.Size, ids = want.Count+1, want.Size+b.Size, append(ids, b.ID)
		}
		if page.Total != want.Count || page.Stats.Count != want.Count || page.Stats.Size != want.Size || !maps.Equal(page.Stats.ByDestination, want.ByDestination) {
			t.Errorf("%+v: total %d, stats %+v, want %+v", f, page.Total, page.Stats, want)
		}
		var got []string
		for _, b := range page.Backups {
			got = append(got, b.ID)
		}
		if ids = ids[min(3, len(ids)):]; !slices.Equal(got, ids[:min(20, len(ids))]) {
			t.Errorf("%+v: %q, want %q", f, got, ids)
		}
	}
	return out
}

func filters(h *history) (all []catalog.Filter) {
	begin := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	for n := range 3 * 2 * 2 * 2 * 5 {
		f := catalog.Filter{}
		pick := func(of int) int { k := n % of; n /= of; return k }
		switch pick(3) {
		case 1:
			f.Project = "p1"
		case 2:
			f.Only = []string{"p3", "p1", "nobody", "p1"}
		}
		f.Status = []catalog.Status{"", catalog.Completed}[pick(2)]
		f.Destination = []string{"", "s3"}[pick(2)]
		f.Type = []string{"", "full"}[pick(2)]
		span := h.now.Sub(begin)
		a, b := begin.Add(time.Duration(h.rnd.Int64N(int64(span)))), begin.Add(time.Duration(h.rnd.Int64N(int64(span))))
		switch pick(5) {
		case 1:
			f.CreatedAfter = a
		case 2:
			f.CreatedBefore = a
		case 3:
			f.CreatedAfter, f.CreatedBefore = a, b // at times an empty span
		case 4:
			f.CreatedAfter, f.CreatedBefore = a, a.Add(time.Hour)
		}
		all = append(all, f)
	}
	return append(all, catalog.Filter{CreatedAfter: time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)}, catalog.Filter{CreatedBefore: time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC)},
		catalog.Filter{Status: "no such"}, catalog.Filter{Project: "nobody"}, catalog.Filter{Only: []string{}}, catalog.Filter{Project: "p2", Only: []string{"p1"}})
}

func matches(f catalog.Filter, b catalog.Backup) bool {
	return (f.Project == "" || b.Project == f.Project) && (f.Only == nil || slices.Contains(f.Only, b.Project)) && (f.Status == "" || b.Status == f.Status) &&
		(f.Destination == "" || b.Destination == f.Destination) && (f.Type == "" || b.Type == f.Type) &&
		(f.CreatedAfter.IsZero() || b.Created.After(f.CreatedAfter)) && (f.CreatedBefore.IsZero() || b.Created.Before(f.CreatedBefore))
}
