package projection

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/services/catalog"
)

// where is a condition of SQL and its arguments.
type where struct {
	terms []string
	args  []any
}

func (w *where) add(term string, args ...any) {
	w.terms, w.args = append(w.terms, term), append(w.args, args...)
}

func (w *where) String() string {
	if w.terms == nil {
		return ""
	}
	return " WHERE " + strings.Join(w.terms, " AND ")
}

// columns returns the condition for what both backups and counts have.
func columns(f catalog.Filter) where {
	w := only(f.Only)
	for _, c := range []struct{ name, value string }{{"project", f.Project}, {"status", string(f.Status)}, {"destination", f.Destination}, {"type", f.Type}} {
		if c.value != "" {
			w.add(c.name+" = ?", c.value)
		}
	}
	return w
}

// only returns the condition that something belongs to one of some projects; nil are
// all.
func only(projects []string) (w where) {
	if projects != nil {
		all := []any{""} // no project has an empty id
		for _, p := range projects {
			all = append(all, p)
		}
		w.add("project IN (?"+strings.Repeat(", ?", len(projects))+")", all...)
	}
	return w
}

// nanos is a time as rows have it. What lies outside of the times that can be is before
// or after all of them.
func nanos(t time.Time) int64 {
	switch y := t.UTC().Year(); {
	case y < 1700:
		return math.MinInt64
	case y > 2250:
		return math.MaxInt64
	}
	return t.UnixNano()
}

// conditions adds what only backups have.
func conditions(f catalog.Filter) where {
	w := columns(f)
	if !f.CreatedAfter.IsZero() {
		w.add("created > ?", nanos(f.CreatedAfter))
	}
	if !f.CreatedBefore.IsZero() {
		w.add("created < ?", nanos(f.CreatedBefore))
	}
	return w
}

// List implements [catalog.Reader].
func (p *Projection) List(ctx context.Context, q catalog.List) (catalog.Page, error) {
	page := catalog.Page{Backups: []catalog.Backup{}}
	if q.Limit < 1 || q.Limit > catalog.MaxLimit || q.Offset < 0 {
		return page, fault.Errorf(fault.Invalid, "limit must be between 1 and %d, offset not negative", catalog.MaxLimit)
	}
	db, err := p.at(ctx, q.Min)
	if err != nil {
		return page, err
	}
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // one snapshot for rows and counts
	if err != nil {
		return page, err
	}
	defer tx.Rollback() //nolint:errcheck // read only
	stats, err := sum(ctx, tx, q.Filter)
	if err != nil {
		return page, err
	}
	page.Total = stats.Count
	if q.Stats {
		page.Stats = &stats
	}
	page.Backups, err = rows(ctx, tx, q)
	if err != nil {
		return page, err
	}
	if page.More = len(page.Backups) > q.Limit; page.More {
		page.Backups = page.Backups[:q.Limit]
	}
	return page, nil
}

// rows returns the backups of a page, and one more if there is one.
func rows(ctx context.Context, tx *sql.Tx, q catalog.List) ([]catalog.Backup, error) {
	w := conditions(q.Filter)
	if q.After != nil {
		w.add("(created, b.id) < (?, ?)", nanos(q.After.Created), q.After.ID)
	}
	rs, err := tx.QueryContext(ctx, "SELECT b.doc, coalesce(p.doc ->> 'name', '') FROM backups b LEFT JOIN projects p ON p.id = b.project"+w.String()+
		" ORDER BY created DESC, b.id DESC LIMIT ? OFFSET ?", append(w.args, q.Limit+1, q.Offset)...)
	if err != nil {
		return nil, err
	}
	defer rs.Close() //nolint:errcheck // read only
	out := []catalog.Backup{}
	for rs.Next() {
		b, err := scan(rs)
		if err != nil {
			return nil, err
		}
		b.Warnings = nil
		out = append(out, b)
	}
	return out, rs.Err()
}

func scan(row interface{ Scan(dest ...any) error }) (b catalog.Backup, err error) {
	var doc, name string
	if err := row.Scan(&doc, &name); err != nil {
		return b, err
	}
	if err := json.Unmarshal([]byte(doc), &b); err != nil {
		return b, err
	}
	if b.ProjectName = name; name == "" {
		b.ProjectName = b.Project // removed meanwhile
	}
	return b, nil
}

// sum sums up what matches a filter: from the counts, unless the filter is about
// times.
func sum(ctx context.Context, tx *sql.Tx, f catalog.Filter) (catalog.Stats, error) {
	from, w := "SELECT destination, sum(count), sum(size) FROM counts", columns(f)
	if !f.CreatedAfter.IsZero() || !f.CreatedBefore.IsZero() {
		from, w = "SELECT destination, count(*), sum(size) FROM backups", conditions(f)
	}
	s := catalog.Stats{ByDestination: map[string]catalog.Total{}}
	rs, err := tx.QueryContext(ctx, from+w.String()+" GROUP BY destination", w.args...)
	if err != nil {
		return s, err
	}
	defer rs.Close() //nolint:errcheck // read only
	for rs.Next() {
		var name string
		var t catalog.Total
		if err := rs.Scan(&name, &t.Count, &t.Size); err != nil {
			return s, err
		}
		if t.Count > 0 {
			s.ByDestination[name] = t
			s.Count += t.Count
			s.Size += t.Size
		}
	}
	return s, rs.Err()
}

// Get implements [catalog.Reader].
func (p *Projection) Get(ctx context.Context, q catalog.Get) (catalog.Backup, error) {
	db, err := p.at(ctx, q.Min)
	if err != nil {
		return catalog.Backup{}, err
	}
	b, err := scan(db.QueryRowContext(ctx, "SELECT b.doc, coalesce(p.doc ->> 'name', '') FROM backups b LEFT JOIN projects p ON p.id = b.project WHERE b.id = ?", q.ID))
	if errors.Is(err, sql.ErrNoRows) {
		return b, fault.Errorf(fault.BackupNotFound, "Backup not found")
	}
	if err == nil {
		b.Restoring, err = restoring(ctx, db, q.ID)
	}
	if err == nil && q.History != nil {
		b.History, err = history(ctx, db, q.ID, *q.History)
	}
	return b, err
}

// Projects implements [catalog.Reader].
func (p *Projection) Projects(ctx context.Context, q catalog.Projects) ([]catalog.Project, error) {
	db, err := p.at(ctx, q.Min)
	if err != nil {
		return nil, err
	}
	rs, err := db.QueryContext(ctx, "SELECT doc FROM projects ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer rs.Close() //nolint:errcheck // read only
	out := []catalog.Project{}
	for rs.Next() {
		var doc string
		if err := rs.Scan(&doc); err != nil {
			return nil, err
		}
		var x catalog.Project
		if err := json.Unmarshal([]byte(doc), &x); err != nil {
			return nil, fmt.Errorf("project: %w", err)
		}
		out = append(out, x)
	}
	return out, rs.Err()
}

// Figures implements [catalog.Reader].
func (p *Projection) Figures(ctx context.Context, _ catalog.Figures) (catalog.Monitor, error) {
	m := catalog.Monitor{Backups: []catalog.Group{}, Success: map[string]time.Time{}, Damaged: map[string]int64{}, Restores: []catalog.Restored{}}
	db, err := p.at(ctx, 0)
	if err != nil {
		return m, err
	}
	rs, err := db.QueryContext(ctx, "SELECT project, status, type, destination, count, size FROM counts")
	if err != nil {
		return m, err
	}
	defer rs.Close() //nolint:errcheck // read only
	for rs.Next() {
		var g catalog.Group
		if err := rs.Scan(&g.Project, &g.Status, &g.Type, &g.Destination, &g.Count, &g.Size); err != nil {
			return m, err
		}
		m.Backups = append(m.Backups, g)
	}
	if err := errors.Join(rs.Err(), byProject(ctx, db, "SELECT project, count FROM damaged", func(project string, n int64) { m.Damaged[project] = n }),
		byProject(ctx, db, "SELECT project, at FROM success", func(project string, at int64) { m.Success[project] = time.Unix(0, at).UTC() })); err != nil {
		return m, err
	}
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM broken").Scan(&m.Broken); err != nil {
		return m, err
	}
	if m.Work, err = countWork(ctx, db); err != nil {
		return m, err
	}
	if m.Restores, err = countRestores(ctx, db); err != nil {
		return m, err
	}
	if state, err := p.feed.State(ctx); err == nil {
		p.head.Store(uint64(state.Last))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	m.Durations, m.Revision, m.Behind = p.hist.list(), p.done, p.behind()
	if head := events.Revision(p.head.Load()); head > p.done {
		m.Lag = head - p.done
	}
	return m, nil
}

// countWork counts the backups that have not ended by pool.
func countWork(ctx context.Context, db *sql.DB) ([]catalog.PoolWork, error) {
	rs, err := db.QueryContext(ctx, `SELECT doc ->> 'pool', sum(status = ?), sum(status = ?) FROM backups WHERE status IN (?, ?) GROUP BY 1 ORDER BY 1`,
		catalog.Pending, catalog.InProgress, catalog.Pending, catalog.InProgress)
	if err != nil {
		return nil, err
	}
	defer rs.Close() //nolint:errcheck // read only
	out := []catalog.PoolWork{}
	for rs.Next() {
		var w catalog.PoolWork
		if err := rs.Scan(&w.Pool, &w.Pending, &w.Running); err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, rs.Err()
}

// byProject gives f the rows of a query for a number of each project.
func byProject(ctx context.Context, db *sql.DB, query string, f func(project string, n int64)) error {
	rs, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rs.Close() //nolint:errcheck // read only
	for rs.Next() {
		var project string
		var n int64
		if err := rs.Scan(&project, &n); err != nil {
			return err
		}
		f(project, n)
	}
	return rs.Err()
}
