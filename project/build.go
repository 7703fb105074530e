package project

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// databaseBuild makes one database out of a dump and proves it.
type databaseBuild struct {
	d    *databaseRestoration
	a    *admin
	pair pair
	dump string // file
	toc  []tocEntry
	lent []string // functions that have a search_path for now
}

// run follows an order that was found by trying: tables and functions; then a
// search_path for functions that rely on one, so that constraints, generated
// columns and indexes which call them can be filled; rows; indexes, constraints,
// triggers; what no dump holds; and last a comparison with the fingerprint.
func (b *databaseBuild) run(ctx context.Context) (err error) {
	c := b.a.client(b.pair.fresh)
	if b.toc, err = c.contents(ctx, b.dump); err != nil {
		return err
	}
	if err := b.create(ctx); err != nil {
		return err
	}
	conn, err := connect(ctx, c.url, map[string]string{"session_replication_role": "replica"}) // event triggers of the project shall not fire
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is pending
	failed, err := b.sections(ctx, c, conn)
	if err != nil {
		return err
	}
	if err := b.beyondTheDump(ctx, c, conn); err != nil {
		return err
	}
	return b.prove(ctx, failed)
}

// create makes an empty database as the old one was.
func (b *databaseBuild) create(ctx context.Context) error {
	rows, err := b.pair.prints.rows("database")
	if err != nil {
		return err
	}
	stmt := []string{"CREATE DATABASE", quote(b.pair.fresh), "TEMPLATE template0"}
	if len(rows) == 1 {
		o := rows[0]
		for _, option := range []string{"encoding", "collate", "ctype"} {
			if value := o.text(option); value != "" {
				stmt = append(stmt, map[string]string{"encoding": "ENCODING", "collate": "LC_COLLATE", "ctype": "LC_CTYPE"}[option], literal(value))
			}
		}
		there, err := roleNames(ctx, b.a.conn)
		if err != nil {
			return wrapSQL(err)
		}
		if owner := o.text("owner"); slices.Contains(there, owner) {
			stmt = append(stmt, "OWNER", quote(owner))
		}
	}
	if _, err := b.a.conn.Exec(ctx, strings.Join(stmt, " ")); err != nil {
		return refused(err, "A new database could not be made")
	}
	return nil
}

// searchPath returns where functions of the source found what they name without a
// schema: the extensions' schemas and public.
func (b *databaseBuild) searchPath() (string, error) {
	rows, err := b.pair.prints.rows("extensions")
	if err != nil {
		return "", err
	}
	path := []string{quote("public"), quote("extensions")}
	for _, o := range rows {
		if s := quote(o.text("schema")); o.text("schema") != "pg_catalog" && !slices.Contains(path, s) {
			path = append(path, s)
		}
	}
	return strings.Join(path, ", "), nil
}

func (b *databaseBuild) sections(ctx context.Context, c client, conn *pgx.Conn) ([]failure, error) {
	path, err := b.searchPath()
	if err != nil {
		return nil, err
	}
	jobs := max(2, min(8, runtime.NumCPU()))
	failed, err := c.section(ctx, b.dump, b.d.t.Scratch, path, jobs, "pre-data")
	if err != nil {
		return nil, err
	}
	if err := b.lend(ctx, conn, path); err != nil {
		return nil, err
	}
	if len(failed) > 0 {
		if failed, err = c.again(ctx, b.dump, b.d.t.Scratch, path, failed); err != nil {
			return nil, err
		}
		if err := b.lend(ctx, conn, path); err != nil {
			return nil, err
		}
	}
	unfilled, err := b.load(ctx, c, path, jobs)
	if err != nil {
		return nil, err
	}
	unmade, err := c.section(ctx, b.dump, b.d.t.Scratch, path, jobs, "post-data")
	if err != nil {
		return nil, err
	}
	if err := b.analyze(ctx, conn, jobs); err != nil { // while the functions of indexes still find what they call
		return nil, refused(err, "The restored database could not be analyzed")
	}
	return slices.Concat(failed, unfilled, unmade), b.reclaim(ctx, conn)
}

// sampled is how many rows of a table ANALYZE looks at with the usual statistics
// target.
const sampled = 30_000

// analyze gathers the statistics of all tables, several at a time, first those where
// most is to be read.
func (b *databaseBuild) analyze(ctx context.Context, conn *pgx.Conn, jobs int) error {
	rows, err := conn.Query(ctx, `SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\_toast%'
 ORDER BY pg_table_size(c.oid) * least(1, $1 / greatest(c.reltuples, 1)) DESC`, float32(sampled))
	if err != nil {
		return err
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	work := make(chan string, len(tables))
	for _, t := range tables {
		work <- t
	}
	close(work)
	ended := make(chan error, jobs)
	for range jobs {
		go func() { ended <- analyzeAll(ctx, b.a.on(b.pair.fresh), work) }()
	}
	for range jobs {
		err = errors.Join(err, <-ended)
	}
	return err
}

func analyzeAll(ctx context.Context, url string, work <-chan string) error {
	conn, err := connect(ctx, url, map[string]string{"session_replication_role": "replica"})
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))                      //nolint:errcheck // nothing is pending
	if _, err := conn.Exec(ctx, "SET search_path = ''"); err != nil { // as the names were written
		return err
	}
	for table := range work {
		if _, err := conn.Exec(ctx, "ANALYZE "+table); err != nil {
			return err
		}
	}
	return nil
}

const pathless = `SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
WHERE p.prokind IN ('f', 'p', 'w') AND l.lanname NOT IN ('c', 'internal') AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
 AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c LIKE 'search_path=%')
 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')`

// lend gives the functions that have no search_path of their own one for the time
// of the build. pg_restore clears that of the session.
func (b *databaseBuild) lend(ctx context.Context, conn *pgx.Conn, path string) error {
	if _, err := conn.Exec(ctx, "SET search_path = ''"); err != nil {
		return wrapSQL(err)
	}
	rows, err := conn.Query(ctx, pathless)
	if err != nil {
		return wrapSQL(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return wrapSQL(err)
	}
	b.lent = append(b.lent, names...)
	return alterAll(ctx, conn, names, "SET search_path = "+path)
}

// reclaim takes the search_paths back.
func (b *databaseBuild) reclaim(ctx context.Context, conn *pgx.Conn) error {
	return alterAll(ctx, conn, b.lent, "RESET search_path")
}

func alterAll(ctx context.Context, conn *pgx.Conn, functions []string, what string) error {
	for chunk := range slices.Chunk(functions, 500) {
		var s strings.Builder
		for _, f := range chunk {
			fmt.Fprintf(&s, "ALTER ROUTINE %s %s;", f, what)
		}
		if _, err := conn.PgConn().Exec(ctx, s.String()).ReadAll(); err != nil {
			return wrapSQL(err)
		}
	}
	return nil
}
