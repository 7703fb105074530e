package project

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// emptyConfigTables removes, from the configuration tables of extensions, the rows of
// the kind that the dump brings: those that the script of the extension has inserted
// would meet them.
func (b *databaseBuild) emptyConfigTables(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `SELECT c.oid::regclass::text, e.extcondition[i] FROM pg_extension e, generate_subscripts(e.extconfig, 1) i, pg_class c WHERE c.oid = e.extconfig[i] AND c.relkind = 'r'`)
	if err != nil {
		return wrapSQL(err)
	}
	conditions := map[string]string{}
	var name, condition string
	if _, err := pgx.ForEachRow(rows, []any{&name, &condition}, func() error {
		conditions[name] = condition
		return nil
	}); err != nil {
		return wrapSQL(err)
	}
	for name, condition := range conditions {
		dumped := slices.ContainsFunc(b.toc, func(e tocEntry) bool { return e.kind == "TABLE DATA" && !b.deferred[e.id] && e.belongsTo(name) })
		if !dumped {
			continue
		}
		// A condition may name things without a schema. Both statements are one transaction.
		if err := execAll(ctx, conn, "SET LOCAL search_path = "+b.paths.all()+"; DELETE FROM ONLY "+name+" "+condition); err != nil {
			return refused(err, "The rows that an extension has put into "+name+" could not be removed")
		}
	}
	return nil
}

// makeExtensionTables makes the tables that belong to extensions and that the extensions
// do not make themselves, such as the queues of pgmq, and tries the entries again that
// need them. One may need another.
func (b *databaseBuild) makeExtensionTables(ctx context.Context, c client, conn *pgx.Conn) error {
	roles, err := roleNames(ctx, conn)
	if err != nil {
		return wrapSQL(err)
	}
	for {
		made := 0
		for _, t := range b.pair.prints.ExtensionTables {
			yes, err := b.makeExtensionTable(ctx, conn, t, roles)
			if err != nil {
				return wrapSQL(err)
			}
			if yes {
				made++
			}
		}
		if made == 0 {
			return nil
		}
		if err := b.retryFailed(ctx, c); err != nil {
			return err
		}
	}
}

// makeExtensionTable makes a table that is not there, and reports whether it did. What
// the server says of one that it cannot make is in t.err; the error is of the connection.
func (b *databaseBuild) makeExtensionTable(ctx context.Context, conn *pgx.Conn, t *extensionTable, roles []string) (bool, error) {
	ready := slices.ContainsFunc(b.extensions, func(e *extension) bool { return e.name == t.Extension && e.made != "" })
	var there bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", t.qualified()).Scan(&there); err != nil || there || !ready || len(t.Create) == 0 {
		return false, err
	}
	owner := b.pair.prints.ownerOf(t)
	if !slices.Contains(roles, owner) {
		owner = ""
	}
	statements := append(t.createAs(owner), "ALTER EXTENSION "+quote(t.Extension)+" ADD TABLE "+t.qualified())
	for _, q := range t.Members {
		statements = append(statements, "ALTER EXTENSION "+quote(t.Extension)+" ADD SEQUENCE "+q)
	}
	t.err = quietly(ctx, conn, func(tx pgx.Tx) error { return execAll(ctx, tx.Conn(), strings.Join(statements, "; ")) })
	if _, refused := errors.AsType[*pgconn.PgError](t.err); t.err != nil && !refused {
		return false, t.err
	}
	return t.err == nil, nil
}

// createAs returns the statements that make the table for an owner, unless that is "".
// A sequence can only be owned by a table of the same owner.
func (t *extensionTable) createAs(owner string) (out []string) {
	for _, s := range t.Create {
		of, _, owned := strings.Cut(s, " OWNED BY ")
		if owned && owner != "" && strings.HasPrefix(s, "ALTER SEQUENCE ") {
			out = append(out, "ALTER TABLE "+t.qualified()+" OWNER TO "+quote(owner), of+" OWNER TO "+quote(owner))
		}
		out = append(out, s)
	}
	if owner != "" {
		out = append(out, "ALTER TABLE "+t.qualified()+" OWNER TO "+quote(owner))
	}
	return out
}

// ownerOf returns the owner of a table at the backup; "" if it is not known.
func (f *fingerprint) ownerOf(t *extensionTable) string {
	rows, err := f.rows("relations")
	if err != nil {
		return ""
	}
	for _, o := range rows {
		if strings.ReplaceAll(o.text("name"), `"`, "") == t.Schema+"."+t.Name {
			return o.text("owner")
		}
	}
	return ""
}

// copy returns the statement that takes the rows.
func (t *extensionTable) copy() string {
	var columns []string
	for _, c := range t.Columns {
		columns = append(columns, quote(c))
	}
	return "COPY " + t.qualified() + " (" + strings.Join(columns, ", ") + ") FROM STDIN"
}

// fillExtensionTables brings the rows of extensions back that no dump holds.
func (b *databaseBuild) fillExtensionTables(ctx context.Context, conn *pgx.Conn) error {
	for _, t := range b.pair.prints.ExtensionTables {
		i := slices.IndexFunc(b.extensions, func(e *extension) bool { return e.name == t.Extension })
		if i < 0 || b.extensions[i].bound {
			continue
		}
		err := b.fillExtensionTable(ctx, conn, t, b.extensions[i])
		var pg *pgconn.PgError
		switch {
		case err == nil:
		case errors.As(err, &pg), errors.Is(err, errRowsLost):
			if _, err := conn.Exec(ctx, "ROLLBACK"); err != nil {
				return wrapSQL(err)
			}
			b.lose(t, err)
		default:
			return wrapSQL(err)
		}
	}
	return nil
}

// errRowsLost says why the rows of an extension could not come back.
var errRowsLost = errors.New("rows lost")

// lose notes that rows of an extension did not come back.
func (b *databaseBuild) lose(t *extensionTable, err error) {
	if t.Rows == 0 {
		return
	}
	b.lost = append(b.lost, difference{gravity: data, code: "extension_rows_lost", name: t.Schema + "." + t.Name, list: "relations", sentence: fmt.Sprintf(
		"The %d rows of the table %s.%s, which belongs to the extension %s, could not be restored: %s.", t.Rows, t.Schema, t.Name, t.Extension, strings.TrimSuffix(serverSaid(err), "."))})
}

func (b *databaseBuild) fillExtensionTable(ctx context.Context, conn *pgx.Conn, t *extensionTable, x *extension) error {
	if x.made == "" {
		return fmt.Errorf("%w: the extension could not be made", errRowsLost)
	}
	var there bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", t.qualified()).Scan(&there); err != nil {
		return err
	}
	if there && x.made != t.Version && t.Rows == 0 {
		return nil // what another version has put there is its own
	}
	if !there {
		if t.err != nil {
			return t.err
		}
		return fmt.Errorf("%w: the extension does not make the table", errRowsLost)
	}
	for _, s := range []string{"BEGIN", "SET LOCAL search_path = " + b.paths.all(), "DELETE FROM ONLY " + t.qualified() + t.others()} {
		if _, err := conn.Exec(ctx, s); err != nil {
			return err
		}
	}
	if t.File != "" {
		f, err := os.Open(filepath.Join(b.d.t.Scratch, filepath.Base(t.File)))
		if err != nil {
			return err
		}
		_, err = conn.PgConn().CopyFrom(ctx, f, t.copy())
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	var n int64
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM ONLY "+t.qualified()+t.others()).Scan(&n); err != nil {
		return err
	}
	if n != t.Rows {
		return fmt.Errorf("%w: %d came back", errRowsLost, n)
	}
	for name, last := range t.Sequences {
		if last == nil {
			continue
		}
		if _, err := conn.Exec(ctx, "SELECT setval($1, $2)", name, *last); err != nil {
			return err
		}
	}
	_, err := conn.Exec(ctx, "COMMIT")
	return err
}
