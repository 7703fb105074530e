package projection

import (
	"context"
	"fmt"
	"strings"

	"github.com/holdfast-dev/holdfast/services/catalog"
)

// flush writes the changes. The caller has begun a transaction.
func (c *changes) flush(ctx context.Context) error {
	for _, f := range []func(context.Context) error{c.flushProjects, c.flushBackups, c.flushRestores, c.flushSums, c.flushBroken} {
		if err := f(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *changes) flushProjects(ctx context.Context) error {
	for _, x := range c.projects.list {
		if x.after == nil {
			if err := c.w.exec(ctx, "DELETE FROM projects WHERE id = ?", x.id); err != nil {
				return err
			}
			continue
		}
		doc, err := encode(x.after)
		if err != nil {
			return err
		}
		if err := c.w.exec(ctx, "INSERT OR REPLACE INTO projects VALUES (?, ?, ?)", x.id, x.after.Name, doc); err != nil {
			return err
		}
	}
	return nil
}

// insertRows is how many new rows one statement writes.
const insertRows = 50

// flushBackups writes the rows of backups and the totals that they are part of.
func (c *changes) flushBackups(ctx context.Context) error {
	t := newTotals(c.w)
	if c.w.bulk != nil {
		t = c.w.bulk.totals
	}
	var fresh []*catalog.Backup
	for _, x := range c.backups.list {
		if x.before == x.after {
			continue
		}
		if err := t.move(ctx, x.before, x.after); err != nil {
			return err
		}
		if x.before != nil && (x.after == nil || x.after.First != x.before.First) {
			if err := c.w.exec(ctx, "DELETE FROM backups WHERE n = ?", int64(x.before.First)); err != nil {
				return err
			}
		}
		switch {
		case x.after == nil:
		case x.before != nil && x.after.First == x.before.First:
			if err := c.update(ctx, x.after); err != nil {
				return err
			}
		default:
			fresh = append(fresh, x.after)
		}
		c.w.backups.put(x.id, x.after)
		if c.w.bulk != nil {
			c.w.bulk.moved(x.id, x.after)
		}
	}
	for len(fresh) > 0 {
		n := 1
		if len(fresh) >= insertRows {
			n = insertRows
		}
		if err := c.insert(ctx, fresh[:n]); err != nil {
			return err
		}
		fresh = fresh[n:]
	}
	if c.w.bulk != nil {
		return nil // it is written last
	}
	return t.flush(ctx)
}

func (c *changes) update(ctx context.Context, b *catalog.Backup) error {
	status, err := c.w.word(ctx, string(b.Status))
	if err != nil {
		return err
	}
	doc, err := encode(b)
	if err != nil {
		return err
	}
	return c.w.exec(ctx, "UPDATE backups SET status = ?, size = ?, doc = ? WHERE n = ?", status, b.Size, doc, int64(b.First))
}

func (c *changes) insert(ctx context.Context, rows []*catalog.Backup) error {
	args := make([]any, 0, 9*len(rows))
	for _, b := range rows {
		g, err := groupOf(ctx, c.w, b)
		if err != nil {
			return err
		}
		doc, err := encode(b)
		if err != nil {
			return err
		}
		args = append(args, int64(b.First), b.ID, g.project, g.typ, g.status, g.destination, nanos(b.Created), b.Size, doc)
	}
	return c.w.exec(ctx, "INSERT INTO backups VALUES "+strings.TrimSuffix(strings.Repeat("(?, ?, ?, ?, ?, ?, ?, ?, ?), ", len(rows)), ", "), args...)
}

func (c *changes) flushRestores(ctx context.Context) error {
	for _, x := range c.restores.list {
		if x.before == x.after || x.after == nil {
			continue
		}
		doc, err := encode(x.after)
		if err != nil {
			return err
		}
		r := x.after
		err = c.w.exec(ctx, "INSERT INTO restores VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET status = excluded.status, doc = excluded.doc",
			r.ID, r.Backup, r.Project, string(r.Status), r.DryRun, nanos(r.Created), doc)
		if err != nil {
			return err
		}
		c.w.restores.put(x.id, r)
	}
	for k, at := range c.restored {
		if err := c.w.exec(ctx, "INSERT OR REPLACE INTO restored VALUES (?, ?, ?)", k[0], k[1], at); err != nil {
			return err
		}
	}
	return nil
}

// flushSums writes what monitoring wants to know.
func (c *changes) flushSums(ctx context.Context) error {
	for project, e := range c.success {
		newest := "excluded.at"
		if !e.inOrder {
			newest = "max(at, excluded.at)"
		}
		if err := c.w.exec(ctx, "INSERT INTO success VALUES (?, ?) ON CONFLICT (project) DO UPDATE SET at = "+newest, project, e.at); err != nil {
			return err
		}
	}
	for k, d := range c.durations {
		typ, err := c.w.word(ctx, k.typ)
		if err != nil {
			return err
		}
		if err := c.w.exec(ctx, "INSERT INTO durations VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count, nanos = nanos + excluded.nanos", typ, k.bucket, d.count, d.nanos); err != nil {
			return err
		}
	}
	return c.flushDamaged(ctx)
}

// flushDamaged keeps the number of backups whose last verification failed.
func (c *changes) flushDamaged(ctx context.Context) error {
	damaged := func(b *catalog.Backup) int64 {
		if b != nil && b.Verification != nil && !b.Verification.OK {
			return 1
		}
		return 0
	}
	counts := map[string]int64{}
	for _, x := range c.backups.list {
		if n := damaged(x.before); n != 0 {
			counts[x.before.Project] -= n
		}
		if n := damaged(x.after); n != 0 {
			counts[x.after.Project] += n
		}
	}
	for project, n := range counts {
		if err := c.w.exec(ctx, "INSERT INTO damaged VALUES (?, ?) ON CONFLICT (project) DO UPDATE SET count = count + excluded.count", project, n); err != nil {
			return err
		}
	}
	return nil
}

func (c *changes) flushBroken(ctx context.Context) error {
	for _, r := range c.broken {
		if err := c.w.exec(ctx, "INSERT OR IGNORE INTO broken VALUES (?)", int64(r)); err != nil {
			return err
		}
	}
	// A later version looks again at events of types that this one does not know.
	for typ := range c.skipped {
		if err := c.w.exec(ctx, "INSERT OR IGNORE INTO skipped VALUES (?)", typ); err != nil {
			return fmt.Errorf("event type %s: %w", typ, err)
		}
	}
	return nil
}
