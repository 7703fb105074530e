package projection

import (
	"context"
	"database/sql"
	"hash/maphash"

	"github.com/holdfast-dev/holdfast/services/catalog"
)

// bulk is what a writer keeps in memory while a file is built: its indexes are made
// and its totals are written last.
type bulk struct {
	totals *totals
	rows   *rowIndex // nil when the file has its own
}

// newBulk returns what an earlier process has left in a file.
func newBulk(ctx context.Context, w *writer) (*bulk, error) {
	b := &bulk{newTotals(w), &rowIndex{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, rows: map[[2]uint64]int64{}}}
	return b, w.each(ctx, "SELECT n, id, project, status, type, destination, created, size FROM backups", func(rs *sql.Rows) error {
		var n, created, size int64
		var id string
		var g group
		err := rs.Scan(&n, &id, &g.project, &g.status, &g.typ, &g.destination, &created, &size)
		b.rows.set(id, n)
		b.totals.add(g, created, sums{1, size})
		return err
	})
}

// finish writes the totals and makes the indexes that the file does not have yet.
func (b *bulk) finish(ctx context.Context, w *writer) error {
	err := w.exec(ctx, "BEGIN IMMEDIATE")
	for _, table := range []string{"totals", "periods"} { // an earlier process may have come as far
		if err == nil {
			err = w.exec(ctx, "DELETE FROM "+table)
		}
	}
	if err == nil {
		err = b.totals.flush(ctx)
	}
	if err == nil {
		err = w.exec(ctx, "COMMIT")
	}
	if err == nil {
		err = b.index(ctx, w)
	}
	return err
}

func (b *bulk) index(ctx context.Context, w *writer) error {
	for _, query := range indexQueries() {
		if _, err := w.conn.ExecContext(ctx, query); err != nil {
			return err
		}
	}
	b.rows = nil
	return nil
}

// row returns the row of a backup, or false if the file has none.
func (b *bulk) row(id string) (int64, bool) {
	n, ok := b.rows.rows[b.rows.hash(id)]
	return n, ok
}

// moved notes that a backup has another row now, or none.
func (b *bulk) moved(id string, after *catalog.Backup) {
	switch {
	case b.rows == nil:
	case after == nil:
		delete(b.rows.rows, b.rows.hash(id))
	default:
		b.rows.set(id, int64(after.First))
	}
}

// rowIndex finds the rows of backups by their ids, of which it knows a hash of 128 bits.
type rowIndex struct {
	seeds [2]maphash.Seed
	rows  map[[2]uint64]int64
}

// maxRowIndex is how many rows are found without an index in the file, in about 50
// bytes of memory each.
const maxRowIndex = 1_500_000

func (x *rowIndex) hash(id string) [2]uint64 {
	return [2]uint64{maphash.String(x.seeds[0], id), maphash.String(x.seeds[1], id)}
}

func (x *rowIndex) set(id string, n int64) { x.rows[x.hash(id)] = n }
