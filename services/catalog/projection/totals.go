package projection

import (
	"context"
	"database/sql"
	"math"
	"time"

	"github.com/holdfast-dev/holdfast/services/catalog"
)

// group is the backups that are alike, by the numbers of the words; 0 is any.
type group struct{ project, status, typ, destination int64 }

func groupOf(ctx context.Context, w *writer, b *catalog.Backup) (g group, err error) {
	for _, x := range []struct {
		n    *int64
		word string
	}{{&g.project, b.Project}, {&g.status, string(b.Status)}, {&g.typ, b.Type}, {&g.destination, b.Destination}} {
		if *x.n, err = w.word(ctx, x.word); err != nil {
			return g, err
		}
	}
	return g, nil
}

// totals sums up how a batch changes the tables totals and periods. The first has a
// row for every combination of filters, so that a total is read and not added up. The
// second has them by the time of creation: for all projects by the day, for one by
// 32 days.
type totals struct {
	w       *writer
	groups  map[group]sums
	periods map[period]sums
}

type sums struct{ count, size int64 }

// period is a span of the time of creation.
type period struct {
	group // whose project may be any
	n     int64
}

const (
	day   = int64(24 * time.Hour)
	month = 32 * day
)

// floor returns the number of the span that a time lies in.
func floor(at, span int64) int64 {
	n := at / span
	if at%span < 0 {
		n--
	}
	return n
}

func newTotals(w *writer) *totals {
	return &totals{w: w, groups: map[group]sums{}, periods: map[period]sums{}}
}

// move takes a backup out of the totals as it was, and adds it as it is.
func (t *totals) move(ctx context.Context, before, after *catalog.Backup) error {
	for i, b := range []*catalog.Backup{before, after} {
		if b == nil {
			continue
		}
		g, err := groupOf(ctx, t.w, b)
		if err != nil {
			return err
		}
		sign := int64(2*i - 1) // -1, then 1
		t.add(g, nanos(b.Created), sums{sign, sign * b.Size})
	}
	return nil
}

// add adds what a backup of a group, created at a time, counts for.
func (t *totals) add(g group, created int64, x sums) {
	t.groups[g] = t.groups[g].plus(x)
	all := g
	all.project = 0
	for _, p := range []period{{g, floor(created, month)}, {all, floor(created, day)}} {
		t.periods[p] = t.periods[p].plus(x)
	}
}

func (s sums) plus(x sums) sums { return sums{s.count + x.count, s.size + x.size} }

// any returns the groups that a group is part of: each of its four words as it is, or
// any.
func (g group) any() (all [16]group) {
	for i := range all {
		x := g
		for bit, n := range []*int64{&x.project, &x.status, &x.typ, &x.destination} {
			if i>>bit&1 == 1 {
				*n = 0
			}
		}
		all[i] = x
	}
	return all
}

func (t *totals) flush(ctx context.Context) error {
	every := map[group]sums{}
	for g, s := range t.groups {
		for _, x := range g.any() {
			every[x] = every[x].plus(s)
		}
	}
	for g, s := range every {
		if s == (sums{}) {
			continue
		}
		err := t.w.exec(ctx, "INSERT INTO totals VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count, size = size + excluded.size",
			g.project, g.status, g.typ, g.destination, s.count, s.size)
		if err != nil {
			return err
		}
	}
	for p, s := range t.periods {
		if s == (sums{}) {
			continue
		}
		err := t.w.exec(ctx, "INSERT INTO periods VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count, size = size + excluded.size",
			p.project, p.n, p.status, p.typ, p.destination, s.count, s.size)
		if err != nil {
			return err
		}
	}
	return nil
}

// sum sums up what matches a filter, by destination.
func sum(ctx context.Context, r reader, f catalog.Filter) (catalog.Stats, error) {
	s := catalog.Stats{ByDestination: map[string]catalog.Total{}}
	add := func(rs *sql.Rows) error {
		var name string
		var t catalog.Total
		if err := rs.Scan(&name, &t.Count, &t.Size); err != nil {
			return err
		}
		if t.Count > 0 {
			x := s.ByDestination[name]
			s.ByDestination[name] = catalog.Total{Count: x.Count + t.Count, Size: x.Size + t.Size}
			s.Count, s.Size = s.Count+t.Count, s.Size+t.Size
		}
		return nil
	}
	for _, project := range projectsOf(f) {
		if err := sumProject(ctx, r, f, project, add); err != nil {
			return s, err
		}
	}
	return s, nil
}

// sumProject calls add for the sums of one project, or of all if its id is empty.
func sumProject(ctx context.Context, r reader, f catalog.Filter, project string, add func(*sql.Rows) error) error {
	if f.CreatedAfter.IsZero() && f.CreatedBefore.IsZero() {
		w := where{terms: []string{"t.destination > 0"}}
		w.is("t.project", project, true)
		w.is("t.status", string(f.Status), true)
		w.is("t.type", f.Type, true)
		w.is("t.destination", f.Destination, false)
		return r.each(ctx, "SELECT w.word, t.count, t.size FROM totals t JOIN words w ON w.n = t.destination"+w.String(), add, w.args...)
	}
	span, index := day, "by_created"
	if project != "" {
		span, index = month, "by_p"
	}
	rows := rowSum{f, project, index}
	// Whole spans come from periods, what is left at both ends from the rows.
	first, last := int64(math.MinInt64), int64(math.MaxInt64)
	if !f.CreatedAfter.IsZero() {
		first = floor(nanos(f.CreatedAfter), span) + 1
	}
	if !f.CreatedBefore.IsZero() {
		last = floor(nanos(f.CreatedBefore), span) - 1
	}
	if first > last || first > floor(math.MaxInt64, span) || last < floor(math.MinInt64, span) {
		return rows.each(ctx, r, nil, add)
	}
	w := where{}
	w.is("t.project", project, true)
	w.add("t.period BETWEEN ? AND ?", first, last)
	w.is("t.status", string(f.Status), false)
	w.is("t.type", f.Type, false)
	w.is("t.destination", f.Destination, false)
	if err := r.each(ctx, "SELECT w.word, t.count, t.size FROM (SELECT destination, sum(count) AS count, sum(size) AS size FROM periods t"+w.String()+
		" GROUP BY destination) t JOIN words w ON w.n = t.destination", add, w.args...); err != nil {
		return err
	}
	if !f.CreatedAfter.IsZero() {
		if err := rows.each(ctx, r, func(w *where) { w.add("b.created < ?", first*span) }, add); err != nil {
			return err
		}
	}
	if !f.CreatedBefore.IsZero() {
		return rows.each(ctx, r, func(w *where) { w.add("b.created >= ?", (last+1)*span) }, add)
	}
	return nil
}

// rowSum sums up the rows of a project, or of all, that match a filter.
type rowSum struct {
	f       catalog.Filter
	project string
	index   string // that finds them by their time
}

// each calls add for the sums of each destination. limit, unless nil, narrows them down.
func (x rowSum) each(ctx context.Context, r reader, limit func(*where), add func(*sql.Rows) error) error {
	w := conditions(x.f, x.project)
	if limit != nil {
		limit(&w)
	}
	return r.each(ctx, "SELECT w.word, t.count, t.size FROM (SELECT destination, count(*) AS count, sum(size) AS size FROM backups b INDEXED BY "+x.index+w.String()+
		" GROUP BY destination) t JOIN words w ON w.n = t.destination", add, w.args...)
}
