package project

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Some extensions can only be made in the database of one name, such as pg_cron in
// the database of its setting cron.database_name. They wait until the restored
// database has taken that name, together with their rows, their privileges, and the
// objects that need them. What is to be done then lies in the restored database
// itself, in a schema of ours, so that a swap that was cut off can be finished from
// anywhere; the schema goes when it is done.

// deferredSchema holds the table work: the steps and the fingerprint.
const deferredSchema = "holdfast_restore"

// maxDeferredRows is how many bytes of rows may wait, since they are copied while the
// project cannot use its database.
const maxDeferredRows = 32 << 20

// deferFailed lets entries wait as well that failed because an extension is not there
// yet, and those that need them: whose error names something that waits.
func (b *databaseBuild) deferFailed() {
	if len(b.deferred) == 0 {
		return
	}
	kinds := map[string]string{}
	for _, e := range b.toc {
		kinds[e.id] = e.kind
	}
	for more := true; more; {
		names := b.deferredNames()
		n := len(b.failed)
		b.failed = slices.DeleteFunc(b.failed, func(f failure) bool {
			wait := kinds[f.id] != "EXTENSION" && slices.ContainsFunc(names, func(name string) bool { return mentions(f.message, name) })
			if wait {
				b.deferred[f.id] = true
			}
			return wait
		})
		more = len(b.failed) < n
	}
}

// deferredNames returns the schemas and objects that wait, as PostgreSQL names them in
// messages.
func (b *databaseBuild) deferredNames() (names []string) {
	bound := map[string]bool{}
	for _, x := range b.extensions {
		if !x.bound {
			continue
		}
		if members, err := b.pair.prints.members(x.name); err == nil {
			for _, o := range members["schemas"] {
				bound[o.text("name")] = true
				names = append(names, o.text("name"))
			}
		}
	}
	for _, e := range b.toc {
		if b.deferred[e.id] && e.schema != "-" && !bound[e.schema] && e.kind != "ACL" && e.kind != "COMMENT" {
			names = append(names, e.schema+"."+e.tag)
		}
	}
	return names
}

// mentions reports whether a message names a schema or what lies in it, or an object.
func mentions(message, name string) bool {
	for _, form := range []string{`"` + name + `"`, `"` + name + `.`, ` ` + name + `.`, ` ` + name + `(`} {
		if strings.Contains(message, form) {
			return true
		}
	}
	return false
}

// storeDeferred writes what waits into the new database.
func (b *databaseBuild) storeDeferred(ctx context.Context, c client, conn *pgx.Conn) error {
	if len(b.deferred) == 0 {
		return nil
	}
	work, err := b.deferredSteps(ctx, c)
	if err != nil {
		return err
	}
	steps, err := json.Marshal(work)
	if err != nil {
		return err
	}
	prints, err := json.Marshal(b.pair.prints)
	if err != nil {
		return err
	}
	var bound []string
	for _, e := range b.extensions {
		if e.bound {
			bound = append(bound, e.name)
		}
	}
	return wrapSQL(quietly(ctx, conn, func(tx pgx.Tx) error {
		if err := execAll(ctx, tx.Conn(), "CREATE SCHEMA "+deferredSchema+"; CREATE TABLE "+deferredSchema+".work (steps bytea NOT NULL, prints jsonb NOT NULL, source text NOT NULL, bound text[] NOT NULL, done bool NOT NULL DEFAULT false)"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "INSERT INTO "+deferredSchema+".work (steps, prints, source, bound) VALUES ($1, $2, $3, $4)", steps, string(prints), b.pair.source, bound)
		return err
	}))
}

// deferredSteps returns what is to be done as one transaction. No event trigger fires
// in it.
func (b *databaseBuild) deferredSteps(ctx context.Context, c client) ([]step, error) {
	dumped := &collector{left: maxDeferredRows}
	for _, e := range b.toc {
		if !b.deferred[e.id] || e.kind == "EXTENSION" {
			continue
		}
		err := c.script(ctx, b.dump, b.d.t.Scratch, e, b.options, func(script io.Reader) error {
			return readScript(ctx, script, e, "SET search_path = "+b.paths.all()+";\n", dumped)
		})
		if errors.Is(err, errTooLong) {
			return nil, fail(nil, "What belongs to extensions that are bound to the database's name has more than %d MiB, which is too much for a swap.", maxDeferredRows>>20)
		}
		if err != nil {
			return nil, err
		}
	}
	steps := []step{statement("SET search_path = '';\n%s", quietEventTriggers)}
	for _, e := range b.extensions {
		if !e.bound {
			continue
		}
		owner, err := e.ownerOf(ctx, b.a.conn)
		if err != nil {
			return nil, err
		}
		steps = append(steps, statement("%s;\n", e.createAs(owner)))
		for _, o := range b.configTables(e) {
			steps = append(steps, statement("DELETE FROM ONLY %s;\n", o))
		}
	}
	steps = append(append(steps, dumped.steps...), statement("SET client_encoding = 'UTF8';\n"))
	for _, t := range b.pair.prints.ExtensionTables {
		more, err := b.deferRows(t)
		if err != nil {
			return nil, err
		}
		steps = append(steps, more...)
	}
	if b.d.t.Foreign {
		steps = append(steps, ifCron("UPDATE cron.job SET active = false WHERE active")) // the jobs of another project
	}
	return append(steps, followName(b.pair.source, b.pair.live), statement("%sUPDATE %s.work SET done = true;\n", restoreEventTriggers, deferredSchema)), nil
}

// followName lets cron jobs run in the database's new name, and tells the launcher of
// pg_cron of them: a trigger of the statement does.
func followName(source, live string) step {
	return ifCron(fmt.Sprintf("UPDATE cron.job SET database = %s WHERE database = %s", literal(live), literal(source)))
}

// ifCron runs a statement if there are cron jobs.
func ifCron(sql string) step {
	return statement("DO %s;\n", literal("BEGIN IF to_regclass('cron.job') IS NOT NULL THEN "+sql+"; END IF; END"))
}

// configTables returns the tables of an extension whose rows the dump brings.
func (b *databaseBuild) configTables(x *extension) (names []string) {
	members, err := b.pair.prints.members(x.name)
	if err != nil {
		return nil
	}
	for _, o := range members["relations"] {
		if o.text("kind") == "r" && slices.ContainsFunc(b.toc, func(e tocEntry) bool { return e.kind == "TABLE DATA" && e.belongsTo(o.text("name")) }) {
			names = append(names, o.text("name"))
		}
	}
	return names
}

// deferRows returns what brings the rows of a table that are in no dump.
func (b *databaseBuild) deferRows(t *extensionTable) ([]step, error) {
	if !slices.ContainsFunc(b.extensions, func(e *extension) bool { return e.bound && e.name == t.Extension }) || t.File == "" {
		return nil, nil
	}
	file := filepath.Join(b.d.t.Scratch, filepath.Base(t.File))
	fi, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if fi.Size() > maxDeferredRows {
		b.d.t.warn(Database, "extension_rows_lost", t.Schema+"."+t.Name, fmt.Sprintf("The %d rows of %s.%s, which belongs to the extension %s, were left out: "+
			"copying them would have kept the project from its database for too long. archive/FORMAT.md says how to load them by hand.", t.Rows, t.Schema, t.Name, t.Extension))
		return nil, nil
	}
	rows, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	steps := []step{statement("DELETE FROM ONLY %s%s;\n", t.qualified(), t.others()), {Copy: t.copy(), Rows: rows}}
	for name, last := range t.Sequences {
		if last != nil {
			steps = append(steps, statement("SELECT pg_catalog.setval(%s, %d);\n", literal(name), *last))
		}
	}
	return steps, nil
}

// finishDeferred does, in a database that has its name now, what had to wait for it.
// It does nothing when there is nothing, or when it was done before.
func (d *databaseRestoration) finishDeferred(ctx context.Context, a *admin, p pair) error {
	conn, err := connect(ctx, a.on(p.live), restoring)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is pending
	b := databaseBuild{d: d, a: a, pair: p}
	b.pair.fresh = p.live // that is where it is now
	work, err := readDeferred(ctx, conn)
	if err != nil || work == nil {
		return err
	}
	b.pair.source, b.pair.prints = work.source, work.prints
	if !work.done {
		if err := d.runDeferred(ctx, a.on(p.live), work.steps); err != nil {
			return err
		}
	}
	if b.extensions, err = b.pair.prints.extensions(); err != nil {
		return err
	}
	if err := b.findMade(ctx, conn, work.bound); err != nil {
		return err
	}
	if err := (restorer{b.pair.prints, a.major, b.extensions}).members(ctx, conn); err != nil {
		return err
	}
	if err := b.verifyDeferred(ctx, conn); err != nil {
		return err
	}
	return wrapSQL(quietly(ctx, conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "DROP SCHEMA "+deferredSchema+" CASCADE")
		return err
	}))
}

// runDeferred runs what waits, in a session with the settings of the database.
func (d *databaseRestoration) runDeferred(ctx context.Context, url string, steps []step) error {
	conn, err := connect(ctx, url, nil)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is pending
	return refused(runSteps(ctx, conn, steps), "What had to wait for the name of the database could not be restored")
}

// deferredWork is what waits in a database.
type deferredWork struct {
	steps  []step
	prints *fingerprint
	source string   // the name of the database at the backup
	bound  []string // the extensions that had to wait
	done   bool     // the steps were run
}

// readDeferred returns what waits in a database; nil if nothing does.
func readDeferred(ctx context.Context, conn *pgx.Conn) (*deferredWork, error) {
	var waits bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass('"+deferredSchema+".work') IS NOT NULL").Scan(&waits); err != nil || !waits {
		return nil, wrapSQL(err)
	}
	w := &deferredWork{prints: &fingerprint{}}
	var steps, prints []byte
	if err := conn.QueryRow(ctx, "SELECT steps, prints::text, source, bound, done FROM "+deferredSchema+".work").Scan(&steps, &prints, &w.source, &w.bound, &w.done); err != nil {
		return nil, wrapSQL(err)
	}
	return w, errors.Join(json.Unmarshal(steps, &w.steps), json.Unmarshal(prints, w.prints))
}

// findMade notes the versions of the extensions as they are, and which had to wait.
func (b *databaseBuild) findMade(ctx context.Context, conn *pgx.Conn, bound []string) error {
	for _, e := range b.extensions {
		e.bound = slices.Contains(bound, e.name)
		err := conn.QueryRow(ctx, "SELECT extversion FROM pg_extension WHERE extname = $1", e.name).Scan(&e.made)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return wrapSQL(err)
		}
	}
	return nil
}

// verifyDeferred compares the objects of the whole database with the backup, and the
// rows of what waited; all other rows were compared before.
func (b *databaseBuild) verifyDeferred(ctx context.Context, conn *pgx.Conn) error {
	s, err := Open(ctx, &Server{URL: func(context.Context) (string, error) { return b.a.on(b.pair.live), nil }, Tools: b.a.tools})
	if err != nil {
		return err
	}
	defer s.Close() //nolint:errcheck // it only read
	got := newFingerprint(s)
	if err := got.describe(ctx, s); err != nil {
		return err
	}
	got.Sequences = nil
	for _, e := range b.extensions {
		if e.bound {
			for _, name := range b.rowsOf(e) {
				var n int64
				if err := s.tx.QueryRow(ctx, "SELECT count(*) FROM ONLY "+name).Scan(&n); err != nil {
					return wrapSQL(err)
				}
				got.Tables[name] = n
			}
		}
	}
	differences, err := b.differences(ctx, conn, got)
	if err != nil {
		return err
	}
	return b.judge(slices.DeleteFunc(differences, func(d difference) bool {
		return !b.waits(d) && (d.gravity <= notice || b.d.t.Force) // it was said before the swap
	}))
}

// rowsOf returns the tables of an extension of which the fingerprint has counted rows.
func (b *databaseBuild) rowsOf(x *extension) (names []string) {
	members, err := b.pair.prints.members(x.name)
	if err != nil {
		return nil
	}
	for _, o := range members["relations"] {
		if _, ok := b.pair.prints.Tables[o.text("name")]; ok {
			names = append(names, o.text("name"))
		}
	}
	return names
}
