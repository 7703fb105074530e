package projection

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strings"

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

// is adds that a column holds the number of a word. An empty word is any, for which the
// column has 0 if zero is set.
func (w *where) is(column, word string, zero bool) {
	switch {
	case word != "":
		w.add(column+" = (SELECT n FROM words WHERE word = ?)", word)
	case zero:
		w.add(column + " = 0")
	}
}

func (w *where) String() string {
	if w.terms == nil {
		return ""
	}
	return " WHERE " + strings.Join(w.terms, " AND ")
}

// projectsOf returns the projects that a filter chooses; an empty one stands for all.
func projectsOf(f catalog.Filter) []string {
	switch {
	case f.Only == nil:
		return []string{f.Project}
	case f.Project == "":
		return slices.Compact(slices.Sorted(slices.Values(f.Only)))
	case slices.Contains(f.Only, f.Project):
		return []string{f.Project}
	}
	return nil
}

// conditions returns the condition for the rows b of a project, or of all if its id is
// empty, that match a filter.
func conditions(f catalog.Filter, project string) where {
	var w where
	w.is("b.project", project, false)
	w.is("b.status", string(f.Status), false)
	w.is("b.destination", f.Destination, false)
	w.is("b.type", f.Type, false)
	if !f.CreatedAfter.IsZero() {
		w.add("b.created > ?", nanos(f.CreatedAfter))
	}
	if !f.CreatedBefore.IsZero() {
		w.add("b.created < ?", nanos(f.CreatedBefore))
	}
	return w
}

// List implements [catalog.Reader].
func (p *Projection) List(ctx context.Context, q catalog.List) (catalog.Page, error) {
	page := catalog.Page{Backups: []catalog.Backup{}}
	if q.Limit < 1 || q.Limit > catalog.MaxLimit || q.Offset < 0 {
		return page, fault.Errorf(fault.Invalid, "limit must be between 1 and %d, offset not negative", catalog.MaxLimit)
	}
	err := p.read(ctx, q.Min, func(r reader) error {
		stats, err := sum(ctx, r, q.Filter)
		if err != nil {
			return err
		}
		page.Total = stats.Count
		if q.Stats {
			page.Stats = &stats
		}
		page.Backups, err = rows(ctx, r, q)
		return err
	})
	if page.More = len(page.Backups) > q.Limit; page.More {
		page.Backups = page.Backups[:q.Limit]
	}
	return page, err
}

// rows returns the backups of a page, and one more if there is one.
func rows(ctx context.Context, r reader, q catalog.List) ([]catalog.Backup, error) {
	found, err := find(ctx, r, q)
	out := make([]catalog.Backup, 0, len(found))
	for _, x := range found {
		if err == nil {
			err = r.each(ctx, "SELECT b.doc, coalesce(p.name, '') FROM backups b LEFT JOIN projects p ON p.id = (SELECT word FROM words WHERE n = b.project) WHERE b.n = ?", func(rs *sql.Rows) error {
				b, err := scan(rs)
				b.Warnings = nil
				out = append(out, b)
				return err
			}, x.n)
		}
	}
	return out, err
}

// found is where a row is in the order of lists.
type found struct{ created, n int64 }

// find returns the rows of a page, and one more if there is one. Each project is asked
// for its own, which the indexes have in order.
func find(ctx context.Context, r reader, q catalog.List) (all []found, err error) {
	projects := projectsOf(q.Filter)
	limit, offset := q.Limit+1, q.Offset
	if len(projects) > 1 {
		limit, offset = limit+offset, 0
	}
	for _, project := range projects {
		w := conditions(q.Filter, project)
		if q.After != nil {
			w.add("(b.created, b.n) < (?, ?)", nanos(q.After.Created), int64(q.After.First))
		}
		err := r.each(ctx, "SELECT b.created, b.n FROM backups b"+w.String()+" ORDER BY b.created DESC, b.n DESC LIMIT ? OFFSET ?", func(rs *sql.Rows) error {
			var x found
			err := rs.Scan(&x.created, &x.n)
			all = append(all, x)
			return err
		}, append(w.args, limit, offset)...)
		if err != nil {
			return nil, err
		}
	}
	if len(projects) > 1 {
		slices.SortFunc(all, func(a, b found) int { return cmp.Or(cmp.Compare(b.created, a.created), cmp.Compare(b.n, a.n)) })
		all = all[min(q.Offset, len(all)):]
		all = all[:min(q.Limit+1, len(all))]
	}
	return all, nil
}

func scan(row interface{ Scan(dest ...any) error }) (b catalog.Backup, err error) {
	var doc []byte
	var name string
	if err := row.Scan(&doc, &name); err != nil {
		return b, err
	}
	if err := json.Unmarshal(doc, &b); err != nil {
		return b, err
	}
	if b.ProjectName = name; name == "" {
		b.ProjectName = b.Project // removed meanwhile
	}
	return b, nil
}

// Get implements [catalog.Reader].
func (p *Projection) Get(ctx context.Context, q catalog.Get) (b catalog.Backup, err error) {
	there := false
	err = p.read(ctx, q.Min, func(r reader) error {
		err := r.each(ctx, "SELECT b.doc, coalesce(p.name, '') FROM backups b LEFT JOIN projects p ON p.id = (SELECT word FROM words WHERE n = b.project) WHERE b.id = ?", func(rs *sql.Rows) (err error) {
			b, err = scan(rs)
			there = true
			return err
		}, q.ID)
		if err == nil && there {
			b.Restoring, err = restoring(ctx, r, q.ID)
		}
		if err == nil && there && q.History != nil {
			b.History, err = history(ctx, r, q.ID, *q.History)
		}
		return err
	})
	if err == nil && !there {
		err = fault.Errorf(fault.BackupNotFound, "Backup not found")
	}
	return b, err
}

// Projects implements [catalog.Reader].
func (p *Projection) Projects(ctx context.Context, q catalog.Projects) ([]catalog.Project, error) {
	out := []catalog.Project{}
	err := p.read(ctx, q.Min, func(r reader) error {
		return r.each(ctx, "SELECT doc FROM projects ORDER BY id", func(rs *sql.Rows) error {
			var doc []byte
			if err := rs.Scan(&doc); err != nil {
				return err
			}
			var x catalog.Project
			err := json.Unmarshal(doc, &x)
			out = append(out, x)
			return err
		})
	})
	return out, err
}
