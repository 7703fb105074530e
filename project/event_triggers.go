package project

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// quietEventTriggers switches all event triggers off for what follows, and
// restoreEventTriggers gives each the state back that it had. They write the catalog
// themselves: a session that is a replica would still fire those that are enabled
// always, and one of PostgreSQL 15 knows no other way.
const (
	quietEventTriggers = `SELECT set_config('holdfast.event_triggers', (SELECT coalesce(json_object_agg(oid, evtenabled), '{}')::text FROM pg_event_trigger), true);
UPDATE pg_event_trigger SET evtenabled = 'D';
`
	restoreEventTriggers = `UPDATE pg_event_trigger e SET evtenabled = s.value::"char" FROM json_each_text(current_setting('holdfast.event_triggers')::json) s WHERE e.oid = s.key::oid;
`
)

// quietly runs f in a transaction in which no event trigger of the project fires:
// what a restore does is no DDL of the project.
func quietly(ctx context.Context, conn *pgx.Conn, f func(tx pgx.Tx) error) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // after Commit it does nothing
	if err := execAll(ctx, conn, quietEventTriggers); err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return err
	}
	if err := execAll(ctx, conn, restoreEventTriggers); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// execAll runs a script.
func execAll(ctx context.Context, conn *pgx.Conn, script string) error {
	_, err := conn.PgConn().Exec(ctx, script).ReadAll()
	return err
}
