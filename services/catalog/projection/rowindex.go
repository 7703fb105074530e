package projection

import (
	"context"
	"database/sql"
	"hash/maphash"
)

// rowIndex finds the rows of backups by their ids while a file is built whose indexes
// are made last. It knows ids by a hash of 128 bits.
type rowIndex struct {
	seeds [2]maphash.Seed
	rows  map[[2]uint64]int64
}

// maxRowIndex is how many rows are found without an index in the file, in about 50
// bytes of memory each.
const maxRowIndex = 1_500_000

// newRowIndex returns the index of the rows that a file has.
func newRowIndex(ctx context.Context, w *writer) (*rowIndex, error) {
	x := &rowIndex{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, rows: map[[2]uint64]int64{}}
	return x, w.each(ctx, "SELECT n, id FROM backups", func(rs *sql.Rows) error {
		var n int64
		var id string
		err := rs.Scan(&n, &id)
		x.set(id, n)
		return err
	})
}

func (x *rowIndex) hash(id string) [2]uint64 {
	return [2]uint64{maphash.String(x.seeds[0], id), maphash.String(x.seeds[1], id)}
}

func (x *rowIndex) row(id string) (n int64, ok bool) {
	n, ok = x.rows[x.hash(id)]
	return n, ok
}

func (x *rowIndex) set(id string, n int64) { x.rows[x.hash(id)] = n }
func (x *rowIndex) remove(id string)       { delete(x.rows, x.hash(id)) }
