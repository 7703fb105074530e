package project

import (
	"cmp"
	"context"
	"encoding/gob"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/holdfast-dev/holdfast/project/internal/pgcustom"
)

// fillRows fills the tables, several at a time, and then lets pg_restore do the rest
// of the data: sequences, large objects. What fails is tried again with a search_path.
// Rows of extensions that no dump holds come last.
//
// The rows go straight from the file to COPY: pg_restore would hand them on in twice
// the steps. A table that the dump has made is filled frozen: its pages need no
// second writing by the first reader or by the vacuum, and index-only scans work at
// once.
func (b *databaseBuild) fillRows(ctx context.Context, c client, conn *pgx.Conn) error {
	tables, err := b.tables()
	if err != nil {
		return err
	}
	tables.Tables = slices.DeleteFunc(tables.Tables, func(t pgcustom.Table) bool { return b.deferred[strconv.Itoa(t.ID)] })
	if err := b.emptyConfigTables(ctx, conn); err != nil {
		return err
	}
	failed, err := b.loadTables(ctx, tables)
	if err != nil {
		return err
	}
	b.failed = append(b.failed, failed...)
	loaded := map[string]bool{}
	for _, t := range tables.Tables {
		loaded[strconv.Itoa(t.ID)] = true
	}
	c.session = "-c session_replication_role=replica" // triggers of extensions' tables must not change rows
	if err := b.restore(ctx, c, func(e tocEntry) bool { return !loaded[e.id] }, "--section=data", "--jobs="+strconv.Itoa(b.jobs)); err != nil {
		return err
	}
	if err := b.retryFailed(ctx, c); err != nil {
		return err
	}
	return b.fillExtensionTables(ctx, conn)
}

// tables returns where which rows are; nothing if the dump is of a version whose
// rows only pg_restore knows to find.
func (b *databaseBuild) tables() (d pgcustom.Dump, err error) {
	f, err := os.Open(b.dump + tablesSuffix)
	if errors.Is(err, os.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return d, err
	}
	return d, errors.Join(gob.NewDecoder(f).Decode(&d), f.Close())
}

// loadTables fills tables, the largest first, so that no connection is left alone
// with it at the end, and returns those that the server refused.
func (b *databaseBuild) loadTables(ctx context.Context, d pgcustom.Dump) ([]failure, error) {
	dump, err := os.Open(b.dump)
	if err != nil {
		return nil, err
	}
	defer dump.Close() //nolint:errcheck // was only read
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	slices.SortStableFunc(d.Tables, func(a, b pgcustom.Table) int { return cmp.Compare(b.Size, a.Size) })
	work := make(chan pgcustom.Table, len(d.Tables))
	for _, t := range d.Tables {
		work <- t
	}
	close(work)
	type result struct {
		failed []failure
		err    error
	}
	results := make(chan result)
	jobs := min(b.jobs, len(d.Tables))
	for range jobs {
		go func() {
			l := loader{url: b.a.on(b.pair.fresh), dump: dump}
			failed, err := l.run(ctx, d.Encoding, work)
			results <- result{failed, err}
		}()
	}
	var all []failure
	for range jobs {
		r := <-results
		all = append(all, r.failed...)
		if r.err != nil {
			cancel() // of no use any more
			if err == nil {
				err = r.err
			}
		}
	}
	return all, err
}

// loader is one connection that fills tables.
type loader struct {
	url  string
	dump io.ReaderAt
	conn *pgx.Conn
}

// loaderSettings are those of pg_restore's sessions, and restoreOptions.
const loaderSettings = `SET standard_conforming_strings = on;
SET check_function_bodies = false; SET xmloption = content; SET client_min_messages = warning; SET array_nulls = on; SET row_security = off; SET synchronous_commit = off; SET search_path = '';`

func (l *loader) run(ctx context.Context, encoding string, work <-chan pgcustom.Table) (failed []failure, err error) {
	if l.conn, err = connect(ctx, l.url, map[string]string{"session_replication_role": "replica"}); err != nil {
		return nil, err
	}
	defer l.conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is pending
	if err := l.exec(ctx, loaderSettings+encoding); err != nil {
		return nil, wrapSQL(err)
	}
	for t := range work {
		err := l.fill(ctx, t)
		var pg *pgconn.PgError
		switch {
		case errors.As(err, &pg) && !l.conn.IsClosed() && !endsConnection(pg.Code) && !passes(pg.Code):
			failed = append(failed, failure{strconv.Itoa(t.ID), serverSaid(err)})
		case err != nil && ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return nil, refused(err, "The rows of "+t.Schema+"."+t.Name+" could not be restored")
		}
	}
	return failed, nil
}

// fill gives a table its rows, all or none.
func (l *loader) fill(ctx context.Context, t pgcustom.Table) error {
	if t.Empty() {
		return nil // truncating thousands of partitions takes long
	}
	if err := l.exec(ctx, "BEGIN"); err != nil {
		return err
	}
	statement := t.Copy
	if t.Made {
		// A table may only be filled frozen in the transaction that has emptied it.
		if err := l.exec(ctx, "TRUNCATE ONLY "+quote(t.Schema, t.Name)); err != nil {
			return errors.Join(err, l.exec(ctx, "ROLLBACK"))
		}
		statement += " WITH (FREEZE)"
	}
	if _, err := l.conn.PgConn().CopyFrom(ctx, t.Rows(l.dump), statement); err != nil {
		return errors.Join(err, l.exec(ctx, "ROLLBACK"))
	}
	return l.exec(ctx, "COMMIT")
}

func (l *loader) exec(ctx context.Context, statements string) error {
	_, err := l.conn.PgConn().Exec(ctx, statements).ReadAll()
	return err
}
