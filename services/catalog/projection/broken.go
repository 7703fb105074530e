package projection

import (
	"context"
	"database/sql"

	"github.com/holdfast-dev/holdfast/events"
)

// understands reports whether the file has skipped no event that this version knows.
func understands(ctx context.Context, db *sql.DB) (bool, error) {
	rs, err := db.QueryContext(ctx, "SELECT type FROM skipped")
	if err != nil {
		return false, err
	}
	defer rs.Close() //nolint:errcheck // read only
	for rs.Next() {
		var typ string
		if err := rs.Scan(&typ); err != nil {
			return false, err
		}
		if events.Known(typ) {
			return false, nil
		}
	}
	return true, rs.Err()
}
