package project

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// A snapshot shows rows as they were, but TRUNCATE and the forms of ALTER TABLE that
// rewrite a table are not part of that: who reads the table after them finds it empty,
// or with all its rows at their new place. Names and columns are always the newest
// ones. So a snapshot is only good if nothing of that has happened between its birth
// and the lock on the table. It is proved by comparing what the snapshot shows of each
// table with what a new transaction does, once the locks are held.

// snapshotTries is how many snapshots are tried before a backup gives up on a database
// whose tables change all the time.
const snapshotTries = 10

// staleError says that a snapshot is of no use. The same may work with a new one.
type staleError struct{ err error }

func (e *staleError) Error() string { return e.err.Error() }
func (e *staleError) Unwrap() error { return e.err }

// pause waits before the next snapshot, longer each time, but never as regularly as
// what may have spoilt the last one.
func pause(ctx context.Context, try int) error {
	wait := min(25*time.Millisecond<<try, time.Second)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait/2 + rand.N(wait)): //nolint:gosec // no secret
		return nil
	}
}

// tableStates lists tables, with what must not change while they are read: the name, the
// file of the rows, the columns.
const tableStates = `
SELECT c.oid, format('%I.%I', n.nspname, c.relname), c.relfilenode,
 ARRAY(SELECT a.attnum || ' ' || a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_toast%'`

// tableState is a table as a transaction sees it.
type tableState struct {
	name    string
	file    uint32
	columns []string
}

// readable reports whether who knows the table as t can read it as it is now. A column
// more does no harm.
func (t tableState) readable(now tableState) bool {
	return t.name == now.name && t.file == now.file && !slices.ContainsFunc(t.columns, func(c string) bool { return !slices.Contains(now.columns, c) })
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func readStates(ctx context.Context, q querier) (map[uint32]tableState, error) {
	rows, err := q.Query(ctx, tableStates)
	if err != nil {
		return nil, err
	}
	out := map[uint32]tableState{}
	var oid uint32
	var t tableState
	_, err = pgx.ForEachRow(rows, []any{&oid, &t.name, &t.file, &t.columns}, func() error {
		out[oid] = t
		t.columns = nil
		return nil
	})
	return out, err
}

// unchanged returns a staleError, with the names of the tables, if some are not what
// the snapshot has shown. Somebody must hold locks on the tables.
func (s *Session) unchanged(ctx context.Context, inSnapshot map[uint32]tableState) error {
	conn, err := connect(ctx, s.url, canonical)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it only reads
	now, err := readStates(ctx, conn)
	if err != nil {
		return wrapSQL(err)
	}
	var changed []string
	for oid, t := range inSnapshot {
		if !t.readable(now[oid]) {
			changed = append(changed, t.name)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	slices.Sort(changed)
	return &staleError{lost(nil, "Each time that the backup began, other sessions emptied, rewrote, altered or dropped tables at once: %s. Run backups while nothing does that.", few(changed))}
}

// few lists the first of some names.
func few(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// lock locks tables of the snapshot against changes until the session ends. Without a
// timeout it waits for ever.
func (s *Session) lock(ctx context.Context, timeout time.Duration, tables ...string) error {
	for chunk := range slices.Chunk(tables, 100) {
		script := fmt.Sprintf("SET LOCAL lock_timeout = %d; LOCK TABLE ONLY %s IN ACCESS SHARE MODE; SET LOCAL lock_timeout = 0", timeout.Milliseconds(), strings.Join(chunk, ", ONLY "))
		_, err := s.conn.PgConn().Exec(ctx, script).ReadAll()
		switch {
		case isCode(err, lockNotAvailable):
			return fail(err, "The backup waited too long for a lock that another session holds on one of these tables: %s; try again when that has ended, or raise backup.lock_timeout.", few(chunk))
		case isRace(err):
			return &staleError{wrapSQL(err)}
		case err != nil:
			return wrapSQL(err)
		}
	}
	return nil
}

// blocked reports whether the session waits for a lock.
func (s *Session) blocked(ctx context.Context) (yes bool, err error) {
	conn, err := connect(ctx, s.url, canonical)
	if err != nil {
		return false, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it only reads
	err = conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)", s.conn.PgConn().PID()).Scan(&yes)
	return yes, wrapSQL(err)
}

// hold locks a table of the snapshot for as long as the session lasts. While nothing of
// the snapshot has been written, it is renewed if the table was changed since.
func (s *Session) hold(ctx context.Context, table string, timeout time.Duration) error {
	for try := 1; ; try++ {
		states, err := readStates(ctx, s.tx)
		if err != nil {
			return wrapSQL(err)
		}
		maps.DeleteFunc(states, func(_ uint32, t tableState) bool { return t.name != table })
		if err = s.lock(ctx, timeout, table); err == nil {
			err = s.unchanged(ctx, states)
		}
		var stale *staleError
		if !errors.As(err, &stale) {
			return err
		}
		if s.used || try == snapshotTries {
			return stale.err
		}
		if err := errors.Join(pause(ctx, try), s.renew(ctx)); err != nil {
			return err
		}
	}
}

// isRace reports whether an error of the server, or of a tool that passes one on, says
// that something was changed by another session while it was read.
func isRace(err error) bool {
	if err == nil {
		return false
	}
	text := err.Error()
	if strings.Contains(text, "FATAL:") { // there is no connection, for a reason of its own
		return false
	}
	return slices.ContainsFunc(races, func(words string) bool { return strings.Contains(text, words) })
}

var races = []string{
	"does not exist", "could not open relation with OID", "could not find tuple for", "cache lookup failed", "could not import the requested snapshot", "invalid snapshot identifier",
	"deadlock detected", "tuple concurrently",
}
