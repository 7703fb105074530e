package project

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// rename is one step of a swap: from takes the name to.
type rename struct{ from, to string }

// swap is a change of the names of databases, in one transaction.
type swap struct {
	renames  []rename // in order
	closed   []string // to these nobody may connect after it
	open     []string // to these everybody may again
	reserved bool     // those that are open are for superusers until unreserve is called
}

// swapTimeout is for sessions that connect again and again. The databases are closed
// while a swap is tried, so it must be short.
const swapTimeout = 10 * time.Second

// swap renames databases. Whoever is connected to one of them is disconnected. When it
// fails all is as before.
func (a *admin) swap(ctx context.Context, s swap) error {
	if err := a.refusePrepared(ctx, s); err != nil {
		return err
	}
	// By the clock and not by the context, whose end would break the connection on which
	// the databases are opened again.
	for begin := time.Now(); ; {
		err := a.trySwap(ctx, s)
		if !isCode(err, objectInUse) {
			return wrapSQL(err)
		}
		if time.Since(begin) > swapTimeout {
			return refuse(err, "The databases could not be swapped within %s, because they are in use all the time (%s); stop the project's services first, see restore.before.", swapTimeout, serverSaid(err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// reopen connects again if the connection has broken.
func (a *admin) reopen(ctx context.Context) (err error) {
	if a.conn.IsClosed() {
		a.conn, err = connect(ctx, a.on(beside), durable())
	}
	return err
}

// open lets everybody connect to a database again to which a swap, one that was cut off
// perhaps, has closed the way.
func (a *admin) open(ctx context.Context, database string) error {
	there, err := a.exists(ctx, database)
	if err != nil || !there {
		return err
	}
	if err := a.exec(ctx, "ALTER DATABASE "+quote(database)+" ALLOW_CONNECTIONS true"); err != nil {
		return err
	}
	return a.unreserve(ctx, database)
}

// refusePrepared refuses to close databases that prepared transactions keep from being
// renamed.
func (a *admin) refusePrepared(ctx context.Context, s swap) error {
	for _, r := range s.renames {
		found, err := a.preparedTransactions(ctx, r.from)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return refuse(nil, "%s", preparedSentence(r.from, found))
		}
	}
	return nil
}

func (a *admin) preparedTransactions(ctx context.Context, database string) ([]string, error) {
	rows, err := a.conn.Query(ctx, "SELECT gid FROM pg_prepared_xacts WHERE database = $1 ORDER BY prepared", database)
	if err != nil {
		return nil, wrapSQL(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return found, wrapSQL(err)
}

func preparedSentence(database string, found []string) string {
	return fmt.Sprintf("Prepared transactions keep the database %s from being replaced (%s); end them with COMMIT PREPARED or ROLLBACK PREPARED.", database, strings.Join(found, ", "))
}

func (a *admin) trySwap(ctx context.Context, s swap) (err error) {
	// Not in the transaction: others must see it before they are disconnected.
	var all []string
	wasOpen := map[string]bool{}
	for _, r := range s.renames {
		var open bool
		err := a.conn.QueryRow(ctx, "SELECT datallowconn FROM pg_database WHERE datname = $1", r.from).Scan(&open)
		if errors.Is(err, pgx.ErrNoRows) { // it gets its name in the transaction
			continue
		}
		if err != nil {
			return err
		}
		all, wasOpen[r.from] = append(all, r.from), open
	}
	defer func() {
		if err == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
		defer cancel()
		rerr := a.reopen(ctx)
		for _, name := range all {
			if rerr == nil && wasOpen[name] {
				_, rerr = a.conn.Exec(ctx, "ALTER DATABASE "+quote(name)+" ALLOW_CONNECTIONS true")
			}
		}
		err = errors.Join(err, rerr)
	}()
	for _, name := range all {
		if _, err := a.conn.Exec(ctx, "ALTER DATABASE "+quote(name)+" ALLOW_CONNECTIONS false"); err != nil {
			return err
		}
	}
	if _, err := a.conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY ($1) AND pid <> pg_backend_pid()", all); err != nil {
		return err
	}
	return a.rename(ctx, s)
}

// rename gives databases to which nobody is connected their new names.
func (a *admin) rename(ctx context.Context, s swap) error {
	tx, err := a.conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // after Commit it does nothing
	for _, r := range s.renames {
		if _, err := tx.Exec(ctx, "ALTER DATABASE "+quote(r.from)+" RENAME TO "+quote(r.to)); err != nil {
			return err
		}
	}
	for _, name := range s.open {
		if s.reserved {
			if err := reserve(ctx, tx, name); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "ALTER DATABASE "+quote(name)+" ALLOW_CONNECTIONS true"); err != nil {
			return err
		}
	}
	for _, name := range s.closed {
		if _, err := tx.Exec(ctx, "ALTER DATABASE "+quote(name)+" ALLOW_CONNECTIONS false"); err != nil {
			return err
		}
	}
	return tx.Commit(ctx)
}

// limitSetting keeps the connection limit of a database that is reserved, as a setting
// of that database.
const limitSetting = "holdfast.connection_limit"

// reserve lets only superusers connect to a database.
func reserve(ctx context.Context, tx pgx.Tx, database string) error {
	var limit int
	if err := tx.QueryRow(ctx, "SELECT datconnlimit FROM pg_database WHERE datname = $1", database).Scan(&limit); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf("ALTER DATABASE %s SET %s = '%d'", quote(database), limitSetting, limit)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "ALTER DATABASE "+quote(database)+" CONNECTION LIMIT 0")
	return err
}

// setting returns a setting of a database; "" if there is none.
func (a *admin) setting(ctx context.Context, database, name string) (value string, err error) {
	err = a.conn.QueryRow(ctx, `SELECT coalesce((SELECT substr(c, strpos(c, '=') + 1) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c
 WHERE d.datname = $1 AND s.setrole = 0 AND split_part(c, '=', 1) = $2), '')`, database, name).Scan(&value)
	return value, wrapSQL(err)
}

// unreserve lets everybody connect to a database that a swap has reserved.
func (a *admin) unreserve(ctx context.Context, database string) error {
	limit, err := a.setting(ctx, database, limitSetting)
	if err != nil || limit == "" {
		return err
	}
	return a.exec(ctx, "ALTER DATABASE "+quote(database)+" CONNECTION LIMIT "+limit, "ALTER DATABASE "+quote(database)+" RESET "+limitSetting)
}
