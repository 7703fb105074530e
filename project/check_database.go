package project

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Check implements [Restoration].
func (d *databaseRestoration) Check(ctx context.Context) ([]Check, error) {
	a, err := openAdmin(ctx, d.t.Server)
	if err != nil {
		return nil, err
	}
	defer a.close() //nolint:errcheck // nothing is pending
	if err := d.plan(a.name); err != nil {
		return nil, err
	}
	out := []Check{d.checkVersion(a)}
	for _, f := range []func(context.Context, *admin) (Check, error){d.checkTools, d.checkNames, d.checkSpace, d.checkSessions, d.checkPrepared, d.checkReplication, d.checkExtensions, d.checkLive} {
		c, err := f(ctx, a)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func (d *databaseRestoration) checkVersion(a *admin) Check {
	c := Check{Name: "server_version"}
	if from := d.main().prints.Major; from > a.major {
		c.Problem = fmt.Sprintf("The backup is of PostgreSQL %d, but the server is PostgreSQL %d: a database cannot go back to an older version.", from, a.major)
	}
	return c
}

func (d *databaseRestoration) checkTools(ctx context.Context, a *admin) (Check, error) {
	c := Check{Name: "tools"}
	for _, name := range []string{"pg_restore", "pg_dump"} {
		if _, err := findTool(ctx, name, a.tools, a.major); err != nil {
			var e *Error
			if !errors.As(err, &e) {
				return c, err
			}
			c.Problem = e.Sentence
		}
	}
	return c, nil
}

// checkSpace looks at the disk for the dump, and at that of the server where it is
// on this machine.
func (d *databaseRestoration) checkSpace(ctx context.Context, a *admin) (Check, error) {
	var c Check
	if !exists(d.t.Scratch) { // else the dump is there
		c.Needs = append(c.Needs, SpoolNeed(d.t.Source, filepath.Dir(d.t.Scratch), d.t.MinFree))
	}
	var dir string
	if err := a.conn.QueryRow(ctx, "SHOW data_directory").Scan(&dir); err != nil {
		return c, wrapSQL(err)
	}
	for _, p := range d.pairs {
		rows, err := p.prints.rows("database")
		if err != nil {
			return c, err
		}
		if len(rows) == 1 && samePostmaster(dir) {
			bytes, _ := rows[0]["bytes"].(float64)
			c.Needs = append(c.Needs, Need{Part: Database, At: dir, Bytes: int64(bytes), MinFree: d.t.MinFree})
		}
	}
	return c, nil
}

// samePostmaster reports whether a data directory lies on this machine.
func samePostmaster(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "postmaster.pid"))
	return err == nil
}

func (d *databaseRestoration) checkSessions(ctx context.Context, a *admin) (Check, error) {
	c := Check{Name: "sessions", Judgment: true}
	if d.t.Stopped {
		return c, nil
	}
	n, err := a.sessions(ctx, a.name)
	if n > 0 {
		c.Problem = fmt.Sprintf("%d sessions are connected to the database %s; stop the project's services, or set restore.before and restore.after of the project.", n, a.name)
	}
	return c, err
}

// checkNames looks whether the names are free under which the old databases will be
// kept.
func (d *databaseRestoration) checkNames(ctx context.Context, a *admin) (Check, error) {
	c := Check{Name: "names"}
	for _, p := range d.pairs {
		taken, err := a.exists(ctx, p.kept)
		if err != nil {
			return c, err
		}
		if taken {
			c.Problem = fmt.Sprintf("The server has a database %s already, the name under which this restore keeps what it replaces; drop or rename it.", p.kept)
		}
	}
	return c, nil
}

// checkPrepared looks for prepared transactions: no database that has some can be
// renamed.
func (d *databaseRestoration) checkPrepared(ctx context.Context, a *admin) (Check, error) {
	c := Check{Name: "prepared_transactions"}
	for _, p := range d.pairs {
		found, err := a.preparedTransactions(ctx, p.live)
		if err != nil {
			return c, err
		}
		if len(found) > 0 {
			c.Problem = strings.TrimSpace(c.Problem + " " + preparedSentence(p.live, found))
		}
	}
	return c, nil
}

// checkReplication names what of replication does not follow the name of the database.
func (d *databaseRestoration) checkReplication(ctx context.Context, a *admin) (Check, error) {
	c := Check{Name: "replication"}
	rows, err := a.conn.Query(ctx, "SELECT slot_name FROM pg_replication_slots WHERE database = $1 ORDER BY 1", a.name)
	if err != nil {
		return c, wrapSQL(err)
	}
	slots, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return c, wrapSQL(err)
	}
	subscriptions, err := a.subscriptions(ctx, a.name, "s.subenabled")
	if err != nil {
		return c, err
	}
	var notes []string
	if len(slots) > 0 {
		notes = append(notes, fmt.Sprintf("The replication slots %s stay with the database that is replaced and hold its WAL until that is dropped; their consumers must make new slots.", strings.Join(slots, ", ")))
	}
	if len(subscriptions) > 0 {
		notes = append(notes, fmt.Sprintf("The subscriptions %s stop: they are paused in the database that is replaced, and disabled in the restored one.", strings.Join(subscriptions, ", ")))
	}
	c.Note = strings.Join(notes, " ")
	return c, nil
}

// checkExtensions lets the server make the extensions of the backup, in a database
// with the locale of the backup that is dropped again: only so it is known what it
// can make.
func (d *databaseRestoration) checkExtensions(ctx context.Context, a *admin) (Check, error) {
	c := Check{Name: "extensions", Judgment: true}
	p := d.main()
	all, err := p.prints.extensions()
	if err != nil {
		return c, err
	}
	if c.Problem, err = d.tryExtensions(ctx, a, p, all); err != nil || c.Problem != "" {
		c.Judgment = false
		return c, err
	}
	var problems, notes []string
	for _, e := range all {
		switch {
		case e.err != nil:
			problems = append(problems, fmt.Sprintf("The server cannot make the extension %s %s: %s.", e.name, e.version, serverSaid(e.err)))
		case e.asked == e.version:
		case e.unfit != "":
			problems = append(problems, fmt.Sprintf("The server does not have version %s of the extension %s, and the one that it has, %s, does not take the rows of the backup: %s.", e.version, e.name, e.made, e.unfit))
		case e.made != e.version:
			notes = append(notes, fmt.Sprintf("The extension %s comes at version %s; the server does not have %s of the backup.", e.name, e.made, e.version))
		}
	}
	c.Problem, c.Note = strings.Join(problems, " "), strings.Join(notes, " ")
	return c, nil
}

// keyed are extensions whose rows another version cannot decrypt, although it takes
// them.
var keyed = []string{"supabase_vault", "pgsodium"}

// findUnfit notes why an extension at another version than that of the backup does not
// take the rows that the backup has of it.
func (e *extension) findUnfit(ctx context.Context, conn *pgx.Conn, f *fingerprint) error {
	if e.made == "" || e.made == e.version {
		return nil
	}
	members, err := f.members(e.name)
	if err != nil {
		return err
	}
	for _, o := range members["relations"] {
		name := o.text("name")
		if f.rowsOf(name) == 0 {
			continue
		}
		if slices.Contains(keyed, e.name) {
			e.unfit = fmt.Sprintf("those of %s were encrypted by version %s", name, e.version)
			return nil
		}
		rows, err := conn.Query(ctx, "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped", name)
		if err != nil {
			return wrapSQL(err)
		}
		there, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return wrapSQL(err)
		}
		if len(there) == 0 && f.creates(name) {
			continue
		}
		for column := range columnsByName(o["columns"]) {
			if !slices.Contains(there, column) {
				e.unfit = fmt.Sprintf("%s has no column %s", name, column)
			}
		}
	}
	return nil
}

// rowsOf returns how many rows of a table of an extension a backup has, without those
// that the extension's script inserts.
func (f *fingerprint) rowsOf(table string) (n int64) {
	n = f.Tables[table]
	for _, t := range f.ExtensionTables {
		if t.qualified() == table || t.Schema+"."+t.Name == table {
			n += t.Rows
		}
	}
	return n
}

// creates reports whether a backup can make a table of an extension itself.
func (f *fingerprint) creates(table string) bool {
	return slices.ContainsFunc(f.ExtensionTables, func(t *extensionTable) bool {
		return (t.qualified() == table || t.Schema+"."+t.Name == table) && len(t.Create) > 0
	})
}

// tryExtensions makes extensions in a database that is dropped again. problem says why
// the database itself could not be made.
func (d *databaseRestoration) tryExtensions(ctx context.Context, a *admin, p pair, all []*extension) (problem string, err error) {
	scratch := d.t.scratchName()
	if err := a.drop(ctx, scratch); err != nil {
		return "", err
	}
	o, err := p.prints.database()
	if err != nil {
		return "", err
	}
	if _, err := a.conn.Exec(ctx, "CREATE DATABASE "+quote(scratch)+" TEMPLATE template0"+localeOptions(o, a.major)); err != nil {
		if _, ok := errors.AsType[*pgconn.PgError](err); ok {
			return fmt.Sprintf("The server cannot make a database with the locale of the backup: %s.", serverSaid(err)), nil
		}
		return "", wrapSQL(err)
	}
	defer func() { err = errors.Join(err, a.drop(context.WithoutCancel(ctx), scratch)) }()
	conn, err := connect(ctx, a.on(scratch), map[string]string{"check_function_bodies": "off"})
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is pending
	schemas, err := p.prints.rows("schemas")
	if err != nil {
		return "", err
	}
	for _, s := range schemas {
		if s.text("member") == "" {
			if _, err := conn.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+quote(s.text("name"))); err != nil {
				return "", wrapSQL(err)
			}
		}
	}
	// Scripts of extensions make roles of the server too: all of it is rolled back.
	if _, err := conn.Exec(ctx, "BEGIN"); err != nil {
		return "", wrapSQL(err)
	}
	if err := makeAll(ctx, conn, all, p.live, true); err != nil {
		return "", err
	}
	for _, e := range all {
		if err := e.findUnfit(ctx, conn, p.prints); err != nil {
			return "", err
		}
	}
	return "", nil
}

// checkLive looks at what would be replaced: another project's data, or schemas of
// services that are older than those in the backup.
func (d *databaseRestoration) checkLive(ctx context.Context, a *admin) (Check, error) {
	c := Check{Name: "replaced", Judgment: true}
	there, err := a.exists(ctx, a.name)
	if err != nil || !there {
		return c, err
	}
	s, err := Open(ctx, &Server{URL: func(context.Context) (string, error) { return a.url, nil }, Tools: a.tools})
	if err != nil {
		if MayRetry(err) || ctx.Err() != nil {
			return c, err
		}
		c.Problem = "The database " + a.name + " cannot be opened, so nobody can say what would be replaced: " + Sentence(err)
		return c, nil
	}
	defer s.Close() //nolint:errcheck // it only read
	live := &fingerprint{Objects: map[string]json.RawMessage{}}
	for name, o := range optionalLists {
		has, err := s.has(ctx, o.table)
		if err != nil {
			return c, wrapSQL(err)
		}
		if has {
			if err := live.list(ctx, s, name, o.query); err != nil {
				return c, wrapSQL(err)
			}
		}
	}
	var problems []string
	for list, service := range map[string]string{"auth_migrations": "auth", "storage_migrations": "storage"} {
		was, is := newest(d.main().prints, list), newest(live, list)
		if is != "" && newer(was, is) {
			problems = append(problems, fmt.Sprintf("The backup comes from a newer version of the service %s (migration %s) than the one here (%s); update it first.", service, was, is))
		}
	}
	if d.t.Foreign {
		n, err := userRows(ctx, s)
		if err != nil {
			return c, err
		}
		if n > 0 {
			problems = append(problems, "The database of the other project is not empty; its contents would be replaced.")
		}
	}
	c.Problem = strings.Join(problems, " ")
	return c, nil
}

func newest(f *fingerprint, list string) string {
	rows, err := f.rows(list)
	if err != nil || len(rows) == 0 {
		return ""
	}
	return rows[0].text("version")
}

// newer reports whether migration a comes after b: numbers by value, other names
// by their text.
func newer(a, b string) bool {
	x, xerr := strconv.ParseUint(a, 10, 64)
	y, yerr := strconv.ParseUint(b, 10, 64)
	if xerr == nil && yerr == nil {
		return x > y
	}
	return a > b
}

// userRows counts, up to one each, the tables of users that hold rows.
func userRows(ctx context.Context, s *Session) (n int, err error) {
	rows, err := s.tx.Query(ctx, `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND (n.nspname = 'public' OR n.nspname || '.' || c.relname IN ('auth.users', 'storage.objects'))`)
	if err != nil {
		return 0, wrapSQL(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, wrapSQL(err)
	}
	for _, name := range names {
		var some bool
		if err := s.tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+name+")").Scan(&some); err != nil {
			return 0, wrapSQL(err)
		}
		if some {
			n++
		}
	}
	return n, nil
}
