package projection

import (
	"context"
	"database/sql"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/catalog"
)

// Figures implements [catalog.Reader].
func (p *Projection) Figures(ctx context.Context, _ catalog.Figures) (catalog.Monitor, error) {
	m := catalog.Monitor{Backups: []catalog.Group{}, Durations: []catalog.Durations{}, Success: map[string]time.Time{}, Damaged: map[string]int64{}, Restores: []catalog.Restored{}, Work: []catalog.PoolWork{}}
	err := p.read(ctx, 0, func(r reader) error {
		for _, f := range []func(context.Context, reader, *catalog.Monitor) error{countBackups, countDurations, countProjects, countWork, countRestores} {
			if err := f(ctx, r, &m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return m, err
	}
	if state, err := p.feed.State(ctx); err == nil {
		p.head.Store(uint64(state.Last))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	m.Revision, m.Behind = p.done, p.behind()
	if head := events.Revision(p.head.Load()); head > p.done {
		m.Lag = head - p.done
	}
	return m, nil
}

// countBackups counts backups that are alike.
func countBackups(ctx context.Context, r reader, m *catalog.Monitor) error {
	return r.each(ctx, `SELECT p.word, s.word, y.word, d.word, t.count, t.size FROM totals t
 JOIN words p ON p.n = t.project JOIN words s ON s.n = t.status JOIN words y ON y.n = t.type JOIN words d ON d.n = t.destination WHERE t.count > 0 ORDER BY 1, 2, 3, 4`, func(rs *sql.Rows) error {
		var g catalog.Group
		err := rs.Scan(&g.Project, &g.Status, &g.Type, &g.Destination, &g.Count, &g.Size)
		m.Backups = append(m.Backups, g)
		return err
	})
}

// countDurations counts completed backups by how long they took.
func countDurations(ctx context.Context, r reader, m *catalog.Monitor) error {
	return r.each(ctx, "SELECT w.word, d.bucket, d.count, d.nanos FROM durations d JOIN words w ON w.n = d.type ORDER BY 1, 2", func(rs *sql.Rows) error {
		var typ string
		var bucket int
		var count, nanos int64
		if err := rs.Scan(&typ, &bucket, &count, &nanos); err != nil {
			return err
		}
		if n := len(m.Durations); n == 0 || m.Durations[n-1].Type != typ {
			m.Durations = append(m.Durations, catalog.Durations{Type: typ, Buckets: make([]uint64, len(catalog.DurationBuckets()))})
		}
		d := &m.Durations[len(m.Durations)-1]
		d.Count += uint64(count)
		d.Seconds += time.Duration(nanos).Seconds()
		for i := bucket; i < len(d.Buckets); i++ {
			d.Buckets[i] += uint64(count)
		}
		return nil
	})
}

// countProjects adds what is known of each project, and what cannot be decoded.
func countProjects(ctx context.Context, r reader, m *catalog.Monitor) error {
	if err := byProject(ctx, r, "SELECT project, count FROM damaged", func(project string, n int64) { m.Damaged[project] = n }); err != nil {
		return err
	}
	if err := byProject(ctx, r, "SELECT project, at FROM success", func(project string, at int64) { m.Success[project] = time.Unix(0, at).UTC() }); err != nil {
		return err
	}
	return r.each(ctx, "SELECT count(*) FROM broken", func(rs *sql.Rows) error { return rs.Scan(&m.Broken) })
}

// byProject gives f the rows of a query for a number of each project.
func byProject(ctx context.Context, r reader, query string, f func(project string, n int64)) error {
	return r.each(ctx, query, func(rs *sql.Rows) error {
		var project string
		var n int64
		if err := rs.Scan(&project, &n); err != nil {
			return err
		}
		f(project, n)
		return nil
	})
}

// countWork counts the backups that have not ended by pool.
func countWork(ctx context.Context, r reader, m *catalog.Monitor) error {
	return r.each(ctx, `SELECT b.doc ->> 'pool', sum(w.word = ?), sum(w.word = ?) FROM words w JOIN backups b ON b.status = w.n WHERE w.word IN (?, ?) GROUP BY 1 ORDER BY 1`,
		func(rs *sql.Rows) error {
			var w catalog.PoolWork
			err := rs.Scan(&w.Pool, &w.Pending, &w.Running)
			m.Work = append(m.Work, w)
			return err
		}, catalog.Pending, catalog.InProgress, catalog.Pending, catalog.InProgress)
}

// countRestores counts restores by project and status, without dry runs.
func countRestores(ctx context.Context, r reader, m *catalog.Monitor) error {
	return r.each(ctx, `SELECT r.project, r.status, count(*), coalesce(max(e.at), 0) FROM restores r LEFT JOIN restored e ON e.project = r.project AND e.status = r.status
 WHERE r.dry = 0 GROUP BY 1, 2 ORDER BY 1, 2`, func(rs *sql.Rows) error {
		var x catalog.Restored
		var ended int64
		if err := rs.Scan(&x.Project, &x.Status, &x.Count, &ended); err != nil {
			return err
		}
		if ended > 0 {
			x.Ended = time.Unix(0, ended).UTC()
		}
		m.Restores = append(m.Restores, x)
		return nil
	})
}
