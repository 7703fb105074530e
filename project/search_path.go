package project

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// searchPaths are lent to functions while a database is filled. pg_restore clears
// the search_path of its sessions, so that a function which names things without a
// schema, and which a CHECK, a generated column, an index, a domain or a
// materialized view calls, finds nothing.
type searchPaths struct {
	common []string // schemas that every function may rely on, in order, quoted
	lent   []uint32 // oids of the functions that have one for now
}

// all returns the search_path of what belongs to no function.
func (p searchPaths) all() string { return strings.Join(p.common, ", ") }

// of returns the search_path of the functions of a schema: the database's own comes
// first, then the schema itself.
func (p searchPaths) of(schema string) string {
	path := p.common
	if own := quote(schema); !slices.Contains(path, own) {
		path = append(slices.Clip(path), own)
	}
	return strings.Join(path, ", ")
}

// schemaPaths asks for the search_paths that are set, that of the database first, and
// whether they are for all roles.
const schemaPaths = `SELECT substr(c, strpos(c, '=') + 1), s.setrole = 0 FROM pg_db_role_setting s, unnest(s.setconfig) c
WHERE c LIKE 'search_path=%' AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
ORDER BY (s.setrole = 0) DESC, s.setdatabase DESC`

// findSearchPaths reads what functions may rely on: the paths that were set, public,
// and the schemas of extensions.
func (b *databaseBuild) findSearchPaths(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, schemaPaths)
	if err != nil {
		return wrapSQL(err)
	}
	var own, others []string // schemas
	var path string
	var all bool
	if _, err := pgx.ForEachRow(rows, []any{&path, &all}, func() error {
		if all {
			own = append(own, pathElements(path)...)
		} else { // of the services, which have functions of their own schema
			others = append(others, pathElements(path)...)
		}
		return nil
	}); err != nil {
		return wrapSQL(err)
	}
	b.paths.common = nil
	add := func(schema string) {
		if schema != "" && schema != "$user" && schema != "pg_catalog" && !slices.Contains(b.paths.common, quote(schema)) {
			b.paths.common = append(b.paths.common, quote(schema))
		}
	}
	for _, s := range own {
		add(s)
	}
	add("public")
	add("extensions")
	for _, e := range b.extensions {
		add(e.schema)
	}
	for _, s := range others {
		add(s)
	}
	return nil
}

// pathElements splits the value of search_path into the names of schemas.
func pathElements(value string) (out []string) {
	for {
		value = strings.TrimLeft(value, " ,\t\n")
		if value == "" {
			return out
		}
		if value[0] != '"' {
			element, rest, _ := strings.Cut(value, ",")
			out, value = append(out, strings.TrimSpace(element)), rest
			continue
		}
		var name strings.Builder
		i := 1
		for ; i < len(value); i++ {
			if value[i] == '"' {
				if i+1 == len(value) || value[i+1] != '"' {
					break
				}
				i++
			}
			name.WriteByte(value[i])
		}
		out, value = append(out, name.String()), value[min(i+1, len(value)):]
	}
}

// withoutPath are the functions of users and of extensions that a search_path helps.
const withoutPath = `SELECT p.oid, n.nspname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
WHERE p.prokind IN ('f', 'p', 'w') AND l.lanname NOT IN ('c', 'internal') AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
 AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c LIKE 'search_path=%')`

// setSearchPaths gives the functions that have no search_path one for the time of
// the build. It writes the catalog itself: ALTER FUNCTION would fire event triggers,
// take long for ten thousand functions, and fail for names that are ambiguous.
func (b *databaseBuild) setSearchPaths(ctx context.Context, conn *pgx.Conn) error {
	if err := b.findSearchPaths(ctx, conn); err != nil {
		return err
	}
	rows, err := conn.Query(ctx, withoutPath)
	if err != nil {
		return wrapSQL(err)
	}
	functions := map[string][]uint32{} // by schema
	var oid uint32
	var schema string
	if _, err := pgx.ForEachRow(rows, []any{&oid, &schema}, func() error {
		functions[schema] = append(functions[schema], oid)
		return nil
	}); err != nil {
		return wrapSQL(err)
	}
	for schema, oids := range functions {
		if _, err := conn.Exec(ctx, "UPDATE pg_proc SET proconfig = proconfig || ('search_path=' || $1::text) WHERE oid = ANY ($2)", b.paths.of(schema), oids); err != nil {
			return wrapSQL(err)
		}
		b.paths.lent = append(b.paths.lent, oids...)
	}
	return nil
}

// resetSearchPaths takes the search_paths back.
func (b *databaseBuild) resetSearchPaths(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `UPDATE pg_proc SET proconfig = (SELECT array_agg(c ORDER BY i) FROM unnest(proconfig) WITH ORDINALITY u(c, i) WHERE c NOT LIKE 'search_path=%') WHERE oid = ANY ($1)`, b.paths.lent)
	b.paths.lent = nil
	return wrapSQL(err)
}
