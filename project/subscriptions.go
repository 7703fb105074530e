package project

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/jackc/pgx/v5"
)

// A database that was replaced keeps its subscriptions. Their workers would try to
// connect to it for ever, and it could never be dropped. So they are paused when it is
// replaced, go on when it comes back, and are dropped with it. The slot at the
// publisher is never touched.

// pausedSetting lists, as a setting of a database, the subscriptions that a swap has
// paused there.
const pausedSetting = "holdfast.paused_subscriptions"

// pauseSubscriptions disables the subscriptions of a database.
func (a *admin) pauseSubscriptions(ctx context.Context, database string) error {
	names, err := a.subscriptions(ctx, database, "s.subenabled")
	if err != nil || len(names) == 0 {
		return err
	}
	var before []string // of a swap that was cut off
	was, err := a.setting(ctx, database, pausedSetting)
	if err != nil {
		return err
	}
	if was != "" {
		if err := json.Unmarshal([]byte(was), &before); err != nil {
			return err
		}
	}
	for _, name := range names {
		if !slices.Contains(before, name) {
			before = append(before, name)
		}
	}
	list, err := json.Marshal(before)
	if err != nil {
		return err
	}
	if err := a.exec(ctx, "ALTER DATABASE "+quote(database)+" SET "+pausedSetting+" = "+literal(string(list))); err != nil {
		return err
	}
	return a.alterSubscriptions(ctx, database, names, "DISABLE")
}

// resumeSubscriptions enables what pauseSubscriptions has disabled.
func (a *admin) resumeSubscriptions(ctx context.Context, database string) error {
	list, err := a.setting(ctx, database, pausedSetting)
	if err != nil || list == "" {
		return err
	}
	var names []string
	if err := json.Unmarshal([]byte(list), &names); err != nil {
		return err
	}
	if err := a.alterSubscriptions(ctx, database, names, "ENABLE"); err != nil {
		return err
	}
	return a.exec(ctx, "ALTER DATABASE "+quote(database)+" RESET "+pausedSetting)
}

// dropSubscriptions drops the subscriptions of a database that is to be dropped.
func (a *admin) dropSubscriptions(ctx context.Context, database string) error {
	names, err := a.subscriptions(ctx, database, "true")
	if err != nil || len(names) == 0 {
		return err
	}
	if err := a.exec(ctx, "ALTER DATABASE "+quote(database)+" ALLOW_CONNECTIONS true"); err != nil {
		return err
	}
	if err := a.alterSubscriptions(ctx, database, names, "DISABLE", "SET (slot_name = NONE)"); err != nil {
		return err
	}
	conn, err := connect(ctx, a.on(database), map[string]string{"session_replication_role": "replica"})
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is pending
	for _, name := range names {
		if _, err := conn.Exec(ctx, "DROP SUBSCRIPTION "+quote(name)); err != nil {
			return wrapSQL(err)
		}
	}
	return nil
}

func (a *admin) subscriptions(ctx context.Context, database, condition string) ([]string, error) {
	rows, err := a.conn.Query(ctx, "SELECT s.subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = $1 AND "+condition+" ORDER BY 1", database)
	if err != nil {
		return nil, wrapSQL(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return names, wrapSQL(err)
}

func (a *admin) alterSubscriptions(ctx context.Context, database string, names []string, changes ...string) error {
	conn, err := connect(ctx, a.on(database), map[string]string{"session_replication_role": "replica"})
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is pending
	for _, name := range names {
		for _, change := range changes {
			if _, err := conn.Exec(ctx, "ALTER SUBSCRIPTION "+quote(name)+" "+change); err != nil {
				return wrapSQL(err)
			}
		}
	}
	return nil
}
