package projection

import (
	"context"
	"database/sql"

	"github.com/holdfast-dev/holdfast/events"
)

// reader reads one snapshot of a file.
type reader struct {
	f  *file
	tx *sql.Tx
}

// each calls f for the rows of a query, which is prepared once for each file.
func (r reader) each(ctx context.Context, query string, f func(*sql.Rows) error, args ...any) error {
	s, err := r.f.prepare(ctx, query)
	if err != nil {
		return err
	}
	rs, err := r.tx.StmtContext(ctx, s).QueryContext(ctx, args...) //nolint:sqlclosecheck // the statement ends with the transaction
	if err != nil {
		return err
	}
	defer rs.Close() //nolint:errcheck // read only
	for rs.Next() {
		if err := f(rs); err != nil {
			return err
		}
	}
	return rs.Err()
}

// read calls f with a snapshot that knows revision minimum.
func (p *Projection) read(ctx context.Context, minimum events.Revision, f func(reader) error) error {
	file, release, err := p.at(ctx, minimum)
	if err != nil {
		return err
	}
	defer release()
	tx, err := file.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // read only
	return f(reader{file, tx})
}
