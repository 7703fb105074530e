package project

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// extension is an extension of a backup and what became of it on a server.
type extension struct {
	name, version, schema string // at the backup
	owner                 string // at the backup; "" if not known

	asked string // the version that the server was asked for; "" for its own choice
	made  string // the version that was made; "" if none
	bound bool   // it can only be made in the database whose name the project's will have
	err   error  // why it could not be made
	unfit string // why it does not take the rows of the backup, if it does not
}

// extensions returns those of a backup.
func (f *fingerprint) extensions() ([]*extension, error) {
	rows, err := f.rows("extensions")
	if err != nil {
		return nil, err
	}
	var out []*extension
	for _, o := range rows {
		out = append(out, &extension{name: o.text("name"), version: o.text("version"), schema: o.text("schema"), owner: o.text("owner")})
	}
	return out, nil
}

// create returns the statement that makes the extension, at the version and in the
// schema that the server takes.
func (e *extension) create() string {
	s := "CREATE EXTENSION IF NOT EXISTS " + quote(e.name)
	if e.schema != "" {
		s += " WITH SCHEMA " + quote(e.schema)
	}
	if e.asked != "" {
		s += " VERSION " + literal(e.asked)
	}
	return s
}

// createAs returns statements that let its owner make the extension, in one
// transaction: objects of an extension belong to who makes it, and there is no other
// way to give it away. The owner need be no superuser any more; nobody else sees that
// it is one until the transaction ends.
func (e *extension) createAs(owner role) string {
	if owner.name == "" {
		return e.create()
	}
	s := "SET SESSION AUTHORIZATION " + quote(owner.name) + "; " + e.create() + "; RESET SESSION AUTHORIZATION"
	if !owner.super {
		s = "ALTER ROLE " + quote(owner.name) + " SUPERUSER; " + s + "; ALTER ROLE " + quote(owner.name) + " NOSUPERUSER"
	}
	return s
}

// role is a role of the server.
type role struct {
	name  string
	super bool
}

// ownerOf finds the owner of an extension among the roles of the server; its name is ""
// if whoever restores is to own it.
func (e *extension) ownerOf(ctx context.Context, conn *pgx.Conn) (r role, err error) {
	err = conn.QueryRow(ctx, "SELECT rolname, rolsuper FROM pg_roles WHERE rolname = $1 AND rolname <> session_user", e.owner).Scan(&r.name, &r.super)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, nil
	}
	return r, wrapSQL(err)
}

// boundTo finds, in what the server says of an extension, the only database in which
// it can be made, as pg_cron does.
var boundTo = regexp.MustCompile(`can only create extension in database "?([^"\s]+)"?`)

// otherVersion are the codes of the errors for a version that a server lacks:
// invalid_parameter_value for a path of updates, undefined_file for a script.
var otherVersion = []string{"22023", "58P01"}

// makeAll makes extensions at the versions of the backup, or at those that the server
// has. One may need another, so it goes on until no more succeed. live is the name
// that the database will have. A trial is made in a transaction, in which the owners do
// not matter.
func makeAll(ctx context.Context, conn *pgx.Conn, all []*extension, live string, trial bool) error {
	for {
		progress := false
		for _, e := range all {
			if e.made != "" || e.bound {
				continue
			}
			if err := e.make(ctx, conn, live, trial); err != nil {
				return err
			}
			progress = progress || e.made != "" || e.bound
		}
		if !progress {
			return nil
		}
	}
}

// make makes one extension. Its error is of the connection; what the server says of
// the extension is in e.err.
func (e *extension) make(ctx context.Context, conn *pgx.Conn, live string, trial bool) error {
	owner, err := e.ownerOf(ctx, conn)
	if err != nil {
		return err
	}
	e.asked = e.version
	for {
		if trial {
			e.err = tryStatement(ctx, conn, e.create())
		} else {
			e.err = execAll(ctx, conn, e.createAs(owner))
		}
		pg, ok := errors.AsType[*pgconn.PgError](e.err)
		switch {
		case e.err == nil:
			return wrapSQL(conn.QueryRow(ctx, "SELECT extversion FROM pg_extension WHERE extname = $1", e.name).Scan(&e.made))
		case !ok:
			return wrapSQL(e.err)
		case slices.Contains(otherVersion, pg.Code) && e.asked != "":
			e.asked = ""
		case strings.Contains(pg.Message, "must be installed in schema") && e.schema != "": // versions differ in this
			e.schema = ""
		default:
			if m := boundTo.FindStringSubmatch(pg.Message); m != nil && m[1] == live {
				e.bound, e.err = true, nil
			}
			return nil
		}
	}
}

// tryStatement runs a statement in a savepoint of a transaction, to which it rolls back
// after an error.
func tryStatement(ctx context.Context, conn *pgx.Conn, statement string) error {
	err := execAll(ctx, conn, "SAVEPOINT trial; "+statement+"; RELEASE SAVEPOINT trial")
	if err != nil && !conn.IsClosed() {
		return errors.Join(err, execAll(ctx, conn, "ROLLBACK TO SAVEPOINT trial"))
	}
	return err
}

// makeExtensions makes the extensions of the backup in the new database. Those that
// are bound to the name of the database are deferred, with all that belongs to them.
func (b *databaseBuild) makeExtensions(ctx context.Context, conn *pgx.Conn) (err error) {
	if b.extensions, err = b.pair.prints.extensions(); err != nil {
		return err
	}
	if err := makeAll(ctx, conn, b.extensions, b.pair.live, false); err != nil {
		return err
	}
	b.deferred = map[string]bool{}
	for _, e := range b.extensions {
		switch {
		case e.err != nil:
			b.fail(e, e.err)
		case e.bound:
			if err := b.deferExtension(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// fail notes the entry of an extension as one that could not be restored.
func (b *databaseBuild) fail(x *extension, err error) {
	for _, e := range b.toc {
		if e.kind == "EXTENSION" && e.tag == x.name {
			b.failed = append(b.failed, failure{e.id, serverSaid(err)})
		}
	}
}

// serverSaid returns what a server has said, with its details, for people.
func serverSaid(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return said(pg)
	}
	return err.Error()
}

// members returns the names, by list, of what belongs to an extension.
func (f *fingerprint) members(extension string) (map[string][]object, error) {
	out := map[string][]object{}
	for _, list := range []string{"schemas", "relations", "functions", "types"} {
		rows, err := f.rows(list)
		if err != nil {
			return nil, err
		}
		for _, o := range rows {
			if o.text("member") == extension {
				out[list] = append(out[list], o)
			}
		}
	}
	return out, nil
}

// deferExtension lets everything that belongs to an extension wait for the swap: the
// rows of its tables, their privileges and policies.
func (b *databaseBuild) deferExtension(x *extension) error {
	members, err := b.pair.prints.members(x.name)
	if err != nil {
		return err
	}
	var schemas []string
	for _, o := range members["schemas"] {
		schemas = append(schemas, o.text("name"))
	}
	for _, e := range b.toc {
		of := slices.Contains(schemas, e.schema)
		for _, s := range schemas {
			of = of || e.isNamed("SCHEMA", s)
		}
		of = of || e.isNamed("EXTENSION", x.name)
		for _, list := range []string{"relations", "functions"} {
			of = of || slices.ContainsFunc(members[list], func(o object) bool { return e.belongsTo(o.text("name")) })
		}
		if of {
			b.deferred[e.id] = true
		}
	}
	return nil
}
