package projection

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/catalog"
)

// setAside notes an event that cannot be decoded, and which backup or restore it
// belongs to. Everything else goes on.
func setAside(ctx context.Context, tx *sql.Tx, env events.Envelope) error {
	if err := foreign(ctx, tx, env.Revision); err != nil {
		return err
	}
	switch env.Aggregate.Kind {
	case events.KindBackup:
		before, err := load(ctx, tx, env.Aggregate.ID)
		if err != nil || before == nil || before.Project != env.Aggregate.Project {
			return err
		}
		after := *before
		after.Broken, after.Revision = env.Revision, env.Revision
		return store(ctx, tx, env.Aggregate.ID, before, &after)
	case events.KindRestore:
		return changeRestore(ctx, tx, env.Aggregate.ID, func(r *catalog.Restore) {
			if r.Project == env.Aggregate.Project {
				r.Broken, r.Revision = env.Revision, env.Revision
			}
		})
	}
	return nil
}

// foreign notes an event that changes nothing: one that cannot be decoded, or one of
// another project about the id of a backup or restore that is not its own.
func foreign(ctx context.Context, tx *sql.Tx, r events.Revision) error {
	_, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO broken VALUES (?)", int64(r))
	return err
}

// changeRestore changes the row of a restore, if there is one.
func changeRestore(ctx context.Context, tx *sql.Tx, id string, change func(*catalog.Restore)) error {
	var doc string
	err := tx.QueryRowContext(ctx, "SELECT doc FROM restores WHERE id = ?", id).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	var r catalog.Restore
	if err == nil {
		err = json.Unmarshal([]byte(doc), &r)
	}
	if err != nil {
		return err
	}
	change(&r)
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE restores SET doc = ? WHERE id = ?", string(b), id)
	return err
}

// skipped notes the type of an event that this version does not know, so that a later
// one looks at it again.
func skipped(ctx context.Context, tx *sql.Tx, typ string) error {
	_, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO skipped VALUES (?)", typ)
	return err
}

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
