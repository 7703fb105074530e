package project

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// countLockTimeout is how long counting waits for a lock on a table, in milliseconds. Who
// wants to change the table may be waiting for pg_dump, which holds a lock on it, and
// counting would wait behind that session until the dump has ended.
const countLockTimeout = "500"

// widePath lets functions find what they name without a schema: even for counting rows
// the planner looks into those that indexes call. The database's own search_path comes
// first, then where most things of a project are, then every other schema.
const widePath = `SELECT concat_ws(', ',
 (SELECT substr(x, length('search_path=') + 1) FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) x
  WHERE d.datname = current_database() AND s.setrole = 0 AND x LIKE 'search\_path=%' AND x <> 'search_path=' LIMIT 1),
 'public, extensions', (SELECT string_agg(quote_ident(n.nspname), ', ' ORDER BY n.nspname NOT IN (SELECT m.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace m ON m.oid = e.extnamespace), n.nspname)
  FROM pg_catalog.pg_namespace n WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', 'public', 'extensions')))`

func (s *Session) widePath(ctx context.Context) (path string, err error) {
	err = s.tx.QueryRow(ctx, widePath).Scan(&path)
	return path, wrapSQL(err)
}

// countedTable is a table whose rows are in the dump.
type countedTable struct {
	raw             relationName
	name, condition string
}

// count counts the rows of every table. On a warm cache this costs a few per cent of
// the dump that runs beside it. A table that cannot be counted is noted as such.
func (f *fingerprint) count(ctx context.Context, s *Session) error {
	s.counting.Store(true)
	defer s.counting.Store(false)
	rows, err := s.tx.Query(ctx, countedTables)
	if err != nil {
		return wrapSQL(err)
	}
	tables, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t countedTable, err error) {
		return t, row.Scan(&t.raw.schema, &t.raw.name, &t.name, &t.condition)
	})
	if err != nil {
		return wrapSQL(err)
	}
	path, err := s.widePath(ctx)
	if err != nil {
		return err
	}
	for _, t := range tables {
		f.names[t.raw] = t.name
		n, err := s.countRows(ctx, t, path)
		if isCode(err, "42P01", "42703", "42704", "42725", "42883") { // what it names may be found in its own schema
			n, err = s.countRows(ctx, t, quote(t.raw.schema)+", "+path)
		}
		switch {
		case err == nil:
			f.Tables[t.name] = n
		case s.conn.IsClosed() || ctx.Err() != nil:
			return refused(err, "The rows of the table "+t.name+" could not be counted")
		default:
			f.uncounted[t.name] = err
		}
	}
	return nil
}

// errRewritten says that a table has another file than in the snapshot, so that its
// rows cannot be seen as they were.
var errRewritten = errors.New("it was rewritten meanwhile")

// countRows counts the rows of a table in the snapshot. Nothing stays locked.
func (s *Session) countRows(ctx context.Context, t countedTable, path string) (n int64, err error) {
	err = s.tentatively(ctx, func() error {
		if _, err := s.tx.Exec(ctx, "SELECT set_config('lock_timeout', $1, true), set_config('search_path', $2, true)", countLockTimeout, path); err != nil {
			return err
		}
		if err := s.tx.QueryRow(ctx, "SELECT count(*) FROM ONLY "+t.name+" "+t.condition, pgx.QueryExecModeExec).Scan(&n); err != nil {
			return err
		}
		return s.sameFile(ctx, t.raw)
	})
	return n, err
}

// sameFile returns errRewritten if a table, which must be locked, is not in the file that
// the snapshot shows.
func (s *Session) sameFile(ctx context.Context, table relationName) error {
	// The function looks at the table as it is now, the query at the snapshot.
	var same bool
	err := s.tx.QueryRow(ctx, `SELECT c.relfilenode IS NOT DISTINCT FROM pg_relation_filenode(c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2`, table.schema, table.name).Scan(&same)
	if err == nil && !same {
		err = errRewritten
	}
	return err
}
