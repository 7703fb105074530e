package project

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sys/unix"
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
	for _, f := range []func(context.Context, *admin) (Check, error){d.checkTools, d.checkSpace, d.checkSessions, d.checkExtensions, d.checkLive} {
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
	for _, name := range []string{"pg_restore", "psql", "pg_dump"} {
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
	c := Check{Name: "database_space"}
	need := map[string]int64{filepath.Dir(d.t.Scratch): d.t.Source.Bytes}
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
			need[dir] += int64(bytes)
		}
	}
	for at, bytes := range need {
		if problem := shortOf(at, bytes); problem != "" {
			c.Problem = problem
		}
	}
	return c, nil
}

// samePostmaster reports whether a data directory lies on this machine.
func samePostmaster(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "postmaster.pid"))
	return err == nil
}

// shortOf says that the file system of a path has too little space, if it has. A
// path that is not there stands for the folder that will hold it.
func shortOf(at string, bytes int64) string {
	for {
		if _, err := os.Stat(at); err == nil || at == filepath.Dir(at) {
			break
		}
		at = filepath.Dir(at)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(at, &st); err != nil {
		return ""
	}
	if free := int64(st.Bavail) * st.Bsize; free < bytes {
		return fmt.Sprintf("The disk of %s has %d MiB free, but the restore needs %d MiB there.", at, free>>20, bytes>>20)
	}
	return ""
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

// checkExtensions looks whether the server has what the backup needs. What it does
// not list it is made to make, in a database that is dropped again.
func (d *databaseRestoration) checkExtensions(ctx context.Context, a *admin) (Check, error) {
	c := Check{Name: "extensions", Judgment: true}
	rows, err := d.main().prints.rows("extensions")
	if err != nil {
		return c, err
	}
	var unlisted []string
	for _, o := range rows {
		var listed bool
		if err := a.conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = $1)", o.text("name")).Scan(&listed); err != nil {
			return c, wrapSQL(err)
		}
		if !listed {
			unlisted = append(unlisted, o.text("name"))
		}
	}
	if len(unlisted) == 0 {
		return c, nil
	}
	missing, err := d.tryExtensions(ctx, a, unlisted)
	if len(missing) > 0 {
		c.Problem = fmt.Sprintf("The server lacks extensions that the backup uses: %s.", strings.Join(missing, ", "))
	}
	return c, err
}

func (d *databaseRestoration) tryExtensions(ctx context.Context, a *admin, names []string) (missing []string, err error) {
	scratch := freshName + d.t.ID + "_check"
	if err := errors.Join(a.drop(ctx, scratch), a.exec(ctx, "CREATE DATABASE "+quote(scratch)+" TEMPLATE template0")); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.drop(context.WithoutCancel(ctx), scratch)) }()
	conn, err := connect(ctx, a.on(scratch), nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is pending
	if _, err := conn.Exec(ctx, "CREATE SCHEMA extensions; CREATE EXTENSION IF NOT EXISTS pgcrypto SCHEMA extensions"); err != nil {
		return nil, wrapSQL(err) // others of Supabase build on it
	}
	for _, name := range names {
		_, err := conn.Exec(ctx, "CREATE EXTENSION IF NOT EXISTS "+quote(name)+" CASCADE")
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == "3F000" {
			continue // it is there, and misses a schema of the project
		}
		if err != nil {
			missing = append(missing, name)
		}
	}
	return missing, nil
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
		return c, nil // what cannot be opened cannot be judged, and is replaced as a whole
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
