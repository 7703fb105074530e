package project

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// sampled is how many rows of a table ANALYZE looks at with the usual statistics
// target.
const sampled = 30_000

// analyze gathers the statistics of all tables, several at a time, first those where
// most is to be read. Statistics are a convenience: what fails is a warning.
func (b *databaseBuild) analyze(ctx context.Context, conn *pgx.Conn) {
	rows, err := conn.Query(ctx, `SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\_toast%'
  AND NOT EXISTS (SELECT FROM pg_partition_tree(c.oid) t JOIN pg_class l ON l.oid = t.relid WHERE l.relkind = 'f')
 ORDER BY pg_table_size(c.oid) * least(1, $1 / greatest(c.reltuples, 1)) DESC`, float32(sampled))
	if err != nil {
		b.warnStatistics(nil, err)
		return
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		b.warnStatistics(nil, err)
		return
	}
	work := make(chan string, len(tables))
	for _, t := range tables {
		work <- t
	}
	close(work)
	var mu sync.Mutex
	var without []string
	var first error
	var workers sync.WaitGroup
	for range b.jobs {
		workers.Go(func() {
			err := b.analyzeTables(ctx, work, func(table string, err error) {
				mu.Lock()
				defer mu.Unlock()
				without, first = append(without, table), cmp.Or(first, err)
			})
			mu.Lock()
			defer mu.Unlock()
			first = cmp.Or(first, err)
		})
	}
	workers.Wait()
	for table := range work { // no worker had a connection
		without = append(without, table)
	}
	if len(without) > 0 {
		b.warnStatistics(without, first)
	}
}

// analyzeTables analyzes tables until there are no more, and tells failed of those
// that could not be. Without a connection it leaves them to others.
func (b *databaseBuild) analyzeTables(ctx context.Context, work <-chan string, failed func(table string, err error)) error {
	conn, err := connect(ctx, b.a.on(b.pair.fresh), map[string]string{"session_replication_role": "replica"})
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is pending
	if _, err = conn.Exec(ctx, "SET search_path = "+b.paths.all()); err != nil {
		return err
	}
	for table := range work {
		if _, err := conn.Exec(ctx, "ANALYZE "+table); err != nil {
			failed(table, err)
			if conn.IsClosed() {
				return err
			}
		}
	}
	return nil
}

func (b *databaseBuild) warnStatistics(tables []string, err error) {
	slices.Sort(tables)
	of := ""
	if len(tables) > 0 {
		of = " of " + few(tables)
	}
	why := ""
	if err != nil {
		why = ": " + strings.TrimSuffix(serverSaid(err), ".")
	}
	b.d.t.warn(Database, "not_analyzed", "", "The statistics"+of+" could not be gathered"+why+". Run ANALYZE when the cause is gone.")
}

// readsForeign finds the materialized views that read foreign tables, through other
// views as well.
const readsForeign = `WITH RECURSIVE reading AS (
 SELECT oid FROM pg_class WHERE relkind = 'f'
 UNION SELECT r.ev_class FROM reading x JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = x.oid AND d.classid = 'pg_rewrite'::regclass JOIN pg_rewrite r ON r.oid = d.objid)
SELECT n.nspname AS schema, c.relname AS name FROM reading x JOIN pg_class c ON c.oid = x.oid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm'`

// findForeignViews finds the entries that fill materialized views out of foreign
// tables: another server that does not answer must not cost the restore.
func (b *databaseBuild) findForeignViews(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, readsForeign)
	if err != nil {
		return wrapSQL(err)
	}
	type view struct{ Schema, Name string }
	views, err := pgx.CollectRows(rows, pgx.RowToStructByPos[view])
	if err != nil {
		return wrapSQL(err)
	}
	for _, e := range b.toc {
		if e.kind == "MATERIALIZED VIEW DATA" && slices.Contains(views, view{e.schema, e.tag}) {
			b.foreign = append(b.foreign, e)
		}
	}
	return nil
}

func (b *databaseBuild) readsForeignTables(e tocEntry) bool {
	return slices.ContainsFunc(b.foreign, func(f tocEntry) bool { return f.id == e.id })
}

// foreignTimeout is the default of [DatabasePart.ForeignTimeout].
const foreignTimeout = time.Minute

// refreshForeignViews fills them, within a bounded time.
func (b *databaseBuild) refreshForeignViews(ctx context.Context, conn *pgx.Conn) {
	for _, e := range b.foreign {
		name := e.tag
		if err := b.refreshForeignView(ctx, conn, quote(e.schema, name)); err != nil {
			b.unfilled = append(b.unfilled, e.schema+"."+name)
			b.d.t.warn(Database, "view_not_filled", e.schema+"."+name, fmt.Sprintf("The materialized view %s.%s, which reads foreign tables, could not be filled: %s. "+
				"Run REFRESH MATERIALIZED VIEW when the other server answers.", e.schema, name, strings.TrimSuffix(serverSaid(err), ".")))
		}
	}
}

// refreshForeignView fills a materialized view. Before PostgreSQL 16 nothing interrupts
// postgres_fdw while it connects, but an option of the foreign server, which it gets
// for as long as the transaction lasts.
func (b *databaseBuild) refreshForeignView(ctx context.Context, conn *pgx.Conn, name string) error {
	limit := b.d.p.ForeignTimeout
	if limit <= 0 {
		limit = foreignTimeout
	}
	rows, err := conn.Query(ctx, "SELECT quote_ident(s.srvname) FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw WHERE w.fdwname = 'postgres_fdw' AND NOT coalesce(s.srvoptions, '{}')::text ~ 'connect_timeout='")
	if err != nil {
		return err
	}
	impatient, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	return quietly(ctx, conn, func(tx pgx.Tx) error {
		var before, after strings.Builder
		fmt.Fprintf(&before, "SET LOCAL statement_timeout = %d;", limit.Milliseconds())
		for _, server := range impatient {
			fmt.Fprintf(&before, "ALTER SERVER %s OPTIONS (ADD connect_timeout '%d');", server, max(2, int(limit.Seconds()))) // libpq waits no less
			fmt.Fprintf(&after, "ALTER SERVER %s OPTIONS (DROP connect_timeout);", server)
		}
		if err := execAll(ctx, tx.Conn(), before.String()); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "REFRESH MATERIALIZED VIEW "+name); err != nil {
			return err
		}
		return execAll(ctx, tx.Conn(), "SET LOCAL statement_timeout = 0;"+after.String())
	})
}
