package project

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// databaseBuild makes one database out of a dump and verifies it.
type databaseBuild struct {
	d    *databaseRestoration
	a    *admin
	pair pair
	dump string // file
	toc  []tocEntry
	jobs int // of pg_restore, COPY and ANALYZE

	options    []string // of every pg_restore
	extensions []*extension
	deferred   map[string]bool // ids of entries that wait until the database has its name
	failed     []failure       // entries that could not be restored
	foreign    []tocEntry      // materialized views that read foreign tables
	unfilled   []string        // those of them that could not be filled
	lost       []difference    // rows of extensions
	paths      searchPaths
}

// run restores in an order that was found by trying:
//
//   - the settings of the database, since what is computed during a restore (materialized
//     views, generated columns, indexes, CHECKs) depends on them;
//   - schemas, extensions at their versions, and all other objects without rows;
//   - a search_path for functions that name things without a schema, so that whatever
//     calls them can be filled;
//   - rows, then indexes, constraints and triggers;
//   - event triggers, which must not see what a restore does;
//   - what no dump holds, and a comparison with the fingerprint.
func (b *databaseBuild) run(ctx context.Context) (err error) {
	b.jobs = max(2, min(8, runtime.NumCPU()))
	c := b.a.client(b.pair.fresh)
	if b.toc, err = c.contents(ctx, b.dump); err != nil {
		return err
	}
	known, err := b.tables()
	if err != nil {
		return err
	}
	exactly(b.toc, known.Entries)
	if err := b.create(ctx); err != nil {
		return err
	}
	late, err := b.applySettings(ctx, c)
	if err != nil {
		return err
	}
	if err := b.fill(ctx, c); err != nil {
		return err
	}
	conn, err := connect(ctx, c.url, restoring)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is pending
	if err := b.postRestore(ctx, conn); err != nil {
		return err
	}
	if err := b.verify(ctx, conn, late); err != nil {
		return err
	}
	if err := b.storeDeferred(ctx, c, conn); err != nil {
		return err
	}
	b.setAll(ctx, late)
	return nil
}

// create makes an empty database with the locale and the owner of the old one.
func (b *databaseBuild) create(ctx context.Context) error {
	o, err := b.pair.prints.database()
	if err != nil {
		return err
	}
	there, err := roleNames(ctx, b.a.conn)
	if err != nil {
		return wrapSQL(err)
	}
	stmt := "CREATE DATABASE " + quote(b.pair.fresh) + " TEMPLATE template0" + localeOptions(o, b.a.major)
	if owner := o.text("owner"); slices.Contains(there, owner) {
		stmt += " OWNER " + quote(owner)
	}
	if space := o.text("tablespace"); space != "" && space != "pg_default" {
		var there bool
		if err := b.a.conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_tablespace WHERE spcname = $1)", space).Scan(&there); err != nil {
			return wrapSQL(err)
		}
		if there {
			stmt += " TABLESPACE " + quote(space)
		} else {
			b.d.t.warn(Database, "tablespace_missing", space, fmt.Sprintf("The server lacks the tablespace %s; the database %s is in the default tablespace instead.", space, b.pair.source))
		}
	}
	if _, err := b.a.conn.Exec(ctx, stmt); err != nil {
		return refused(err, "A new database could not be made")
	}
	return b.checkCollation(ctx, o)
}

// localeOptions returns the options of CREATE DATABASE that give a database the
// encoding and the locale of another one on a server of a major version.
func localeOptions(o object, major int) string {
	var out strings.Builder
	option := func(name, field string) {
		if value := o.text(field); value != "" {
			out.WriteString(" " + name + " " + literal(value))
		}
	}
	option("ENCODING", "encoding")
	option("LC_COLLATE", "collate")
	option("LC_CTYPE", "ctype")
	switch provider := o.text("provider"); {
	case provider == "icu" && major >= 15:
		out.WriteString(" LOCALE_PROVIDER icu")
		option("ICU_LOCALE", "locale")
		if major >= 16 {
			option("ICU_RULES", "rules")
		}
	case provider == "builtin" && major >= 17:
		out.WriteString(" LOCALE_PROVIDER builtin")
		option("BUILTIN_LOCALE", "locale")
	case provider == "libc" && major >= 15:
		out.WriteString(" LOCALE_PROVIDER libc")
	}
	return out.String()
}

// checkCollation warns when the server sorts by another version of the collation.
func (b *databaseBuild) checkCollation(ctx context.Context, o object) error {
	was := o.text("collation_version")
	if was == "" || b.a.major < 15 {
		return nil
	}
	var is *string
	if err := b.a.conn.QueryRow(ctx, "SELECT datcollversion FROM pg_database WHERE datname = $1", b.pair.fresh).Scan(&is); err != nil {
		return wrapSQL(err)
	}
	if is != nil && *is != was {
		b.d.t.warn(Database, "collation_version", b.pair.source, fmt.Sprintf("The database %s sorted text by version %s of its collation, the server sorts by version %s. "+
			"The restore has made all indexes anew, so no REINDEX is needed; look at range partitions and CHECKs on text.", b.pair.source, was, *is))
	}
	return nil
}

// fill restores all entries of the dump but those that are deferred. What its session
// computes is computed as the settings of the database say.
func (b *databaseBuild) fill(ctx context.Context, c client) error {
	conn, err := connect(ctx, c.url, map[string]string{"session_replication_role": "replica", "search_path": "", "check_function_bodies": "off", "array_nulls": "on"})
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is pending
	if err := b.restore(ctx, c, isKind("SCHEMA"), "--section=pre-data"); err != nil {
		return err
	}
	if err := b.makeExtensions(ctx, conn); err != nil {
		return err
	}
	if err := b.dropMissingTablespaces(ctx, c, conn); err != nil {
		return err
	}
	if err := b.restore(ctx, c, not(isKind("SCHEMA", "EXTENSION")), "--section=pre-data"); err != nil {
		return err
	}
	if err := b.setSearchPaths(ctx, conn); err != nil {
		return err
	}
	if err := b.retryFailed(ctx, c); err != nil {
		return err
	}
	if err := b.makeExtensionTables(ctx, c, conn); err != nil {
		return err
	}
	if err := b.setSearchPaths(ctx, conn); err != nil { // of functions that came only now
		return err
	}
	if err := b.fillRows(ctx, c, conn); err != nil {
		return err
	}
	if err := b.findForeignViews(ctx, conn); err != nil {
		return err
	}
	if err := b.restore(ctx, c, not(isEventTrigger, b.readsForeignTables), "--section=post-data", "--jobs="+strconv.Itoa(b.jobs)); err != nil {
		return err
	}
	if err := b.retryFailed(ctx, c); err != nil {
		return err
	}
	b.refreshForeignViews(ctx, conn)
	b.analyze(ctx, conn)
	if err := b.resetSearchPaths(ctx, conn); err != nil {
		return err
	}
	return b.restore(ctx, c, isEventTrigger, "--section=post-data")
}

// entryFilter chooses entries of a dump.
type entryFilter func(tocEntry) bool

func isKind(kinds ...string) entryFilter {
	return func(e tocEntry) bool { return slices.Contains(kinds, e.kind) }
}

// isEventTrigger chooses event triggers and what is said of them.
func isEventTrigger(e tocEntry) bool {
	return e.kind == "EVENT TRIGGER" || strings.HasPrefix(e.tag, "EVENT TRIGGER ")
}

func not(filters ...entryFilter) entryFilter {
	return func(e tocEntry) bool {
		return !slices.ContainsFunc(filters, func(f entryFilter) bool { return f(e) })
	}
}

// restore lets pg_restore restore the entries that keep chooses and that are not
// deferred, and notes those that fail.
func (b *databaseBuild) restore(ctx context.Context, c client, keep entryFilter, args ...string) error {
	list, n, err := b.list(func(e tocEntry) bool { return keep(e) && !b.deferred[e.id] })
	if err != nil || n == 0 {
		return err
	}
	defer os.Remove(list) //nolint:errcheck // in the scratch folder, which is removed
	failed, err := c.restore(ctx, b.dump, slices.Concat(args, b.options, []string{"--use-list=" + list})...)
	b.failed = append(b.failed, failed...)
	return err
}

// list writes the list of the entries that keep chooses, for pg_restore, and returns
// its name and how many there are.
func (b *databaseBuild) list(keep entryFilter) (name string, n int, err error) {
	var s strings.Builder
	for _, e := range b.toc {
		if keep(e) {
			s.WriteString(e.id + "; 0 0\n")
			n++
		}
	}
	f, err := os.CreateTemp(b.d.t.Scratch, "list")
	if err != nil {
		return "", 0, err
	}
	if _, err = f.WriteString(s.String()); err != nil {
		_ = f.Close() // the first error says more
		return "", 0, err
	}
	return f.Name(), n, f.Close()
}

// retryFailed tries the entries that failed again, one by one, with a search_path
// that finds what functions name without a schema, until no more succeed: one may
// need another.
func (b *databaseBuild) retryFailed(ctx context.Context, c client) (err error) {
	if len(b.failed) > 0 {
		b.failed, err = c.again(ctx, b.dump, b.d.t.Scratch, b.paths.all(), b.toc, b.failed, b.options)
	}
	b.deferFailed()
	return err
}

// dropMissingTablespaces leaves tablespaces and access methods of tables out of the
// restore when the server lacks one: pg_restore would end at it.
func (b *databaseBuild) dropMissingTablespaces(ctx context.Context, c client, conn *pgx.Conn) error {
	script, err := c.output(ctx, "--schema-only", "--file=-", b.dump)
	if err != nil {
		return err
	}
	for _, x := range []struct{ set, query, option, what, instead string }{
		{"SET default_tablespace = ", "SELECT spcname FROM pg_tablespace", "--no-tablespaces", "tablespace", "tables and indexes are in the default tablespace instead"},
		{"SET default_table_access_method = ", "SELECT amname FROM pg_am WHERE amtype = 't'", "--no-table-access-method", "table access method", "tables use the default access method instead"},
	} {
		rows, err := conn.Query(ctx, x.query)
		if err != nil {
			return wrapSQL(err)
		}
		there, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return wrapSQL(err)
		}
		for _, name := range valuesOf(script, x.set) {
			made := slices.ContainsFunc(b.toc, func(e tocEntry) bool { return strings.HasPrefix(e.desc, "ACCESS METHOD - "+name+" ") })
			if name != "" && !made && !slices.Contains(there, name) {
				b.d.t.warn(Database, "tablespace_missing", name, fmt.Sprintf("The server lacks the %s %s; %s.", x.what, name, x.instead))
				if !slices.Contains(b.options, x.option) {
					b.options = append(b.options, x.option)
				}
			}
		}
	}
	return nil
}

// valuesOf returns the values that a script gives to a setting, each once.
func valuesOf(script, set string) (values []string) {
	for line := range strings.Lines(script) {
		value, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), set)
		value = strings.Trim(strings.TrimSuffix(value, ";"), `"'`)
		if ok && !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	return values
}
