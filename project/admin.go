package project

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// admin is a connection beside a project's database, from which that can be made,
// renamed and dropped.
type admin struct {
	conn  *pgx.Conn
	url   string // of the project's database
	name  string // of it
	major int
	tools string
}

// beside is the database that admin connects to.
const beside = "template1"

func openAdmin(ctx context.Context, s *Server) (*admin, error) {
	raw, err := s.URL(ctx)
	if err != nil {
		return nil, fail(err, "The database of the project cannot be found: %v", err)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fail(nil, "database.url is not a URL")
	}
	a := &admin{url: raw, name: u.Path, tools: s.Tools}
	if len(a.name) > 0 {
		a.name = a.name[1:]
	}
	if a.conn, err = connect(ctx, a.on(beside), canonical); err != nil {
		return nil, err
	}
	var super bool
	err = a.conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int / 10000, rolsuper FROM pg_roles WHERE rolname = current_user").Scan(&a.major, &super)
	if err == nil && !super {
		err = fail(nil, "The role %s is no superuser; a restore needs one, such as supabase_admin, in database.url.", a.conn.Config().User)
	}
	if err != nil {
		return nil, errors.Join(refused(err, "The database refused a query"), a.close())
	}
	return a, nil
}

func (a *admin) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return a.conn.Close(ctx)
}

// on returns the URL of another database of the server.
func (a *admin) on(database string) string {
	u, _ := url.Parse(a.url) // it was parsed before
	u.Path = "/" + database
	return u.String()
}

func (a *admin) client(database string) client { return client{a.tools, a.major, false, a.on(database)} }

func (a *admin) exists(ctx context.Context, database string) (yes bool, err error) {
	err = a.conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", database).Scan(&yes)
	return yes, wrapSQL(err)
}

func (a *admin) exec(ctx context.Context, statements ...string) error {
	for _, s := range statements {
		if _, err := a.conn.Exec(ctx, s); err != nil {
			return wrapSQL(err)
		}
	}
	return nil
}

func (a *admin) drop(ctx context.Context, database string) error {
	return a.exec(ctx, "DROP DATABASE IF EXISTS "+quote(database)+" WITH (FORCE)")
}

// sessions counts who is connected to a database, apart from Holdfast.
func (a *admin) sessions(ctx context.Context, database string) (n int, err error) {
	err = a.conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend' AND application_name <> $2", database, appName).Scan(&n)
	return n, wrapSQL(err)
}

// Building reports whether the server works just now on a database that the restore
// builds. A server that does not answer within 20 seconds does not.
func (t Target) Building(ctx context.Context) bool {
	if t.Server == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	a, err := openAdmin(ctx, t.Server)
	if err != nil {
		return false
	}
	defer a.close() //nolint:errcheck // it only read
	// A session that waits for its client or for a lock does not work.
	var yes bool
	err = a.conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname IN ($1, $2) AND state = 'active' AND coalesce(wait_event_type, '') NOT IN ('Client', 'Lock'))`,
		t.fresh(false), t.fresh(true)).Scan(&yes)
	return err == nil && yes
}

// rename is one step of a swap: from takes the name to.
type rename struct{ from, to string }

// swapTimeout is for sessions that will not end.
const swapTimeout = time.Minute

// swap renames databases in one transaction, in order. Whoever is connected to one
// of them is disconnected. closed are those to which nobody may connect after it,
// open those to which everybody may again. When it fails all is as before.
func (a *admin) swap(ctx context.Context, renames []rename, closed, open []string) error {
	ctx, cancel := context.WithTimeout(ctx, swapTimeout)
	defer cancel()
	var live []string
	for _, r := range renames {
		live = append(live, r.from)
	}
	for {
		err := a.trySwap(ctx, renames, live, closed, open)
		var pg *pgconn.PgError
		if err == nil || !errors.As(err, &pg) || pg.Code != "55006" { // object_in_use
			return wrapSQL(err)
		}
		select {
		case <-ctx.Done():
			return fail(err, "The databases could not be swapped within %s, because sessions connect to them all the time; stop the project's services first, see restore.before.", swapTimeout)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (a *admin) trySwap(ctx context.Context, renames []rename, live, closed, open []string) (err error) {
	// Not in the transaction: others must see it before they are disconnected.
	for _, name := range live {
		if _, err := a.conn.Exec(ctx, "ALTER DATABASE "+quote(name)+" ALLOW_CONNECTIONS false"); err != nil {
			return err
		}
	}
	defer func() {
		if err == nil {
			return
		}
		ctx := context.WithoutCancel(ctx)
		for _, name := range live {
			_, _ = a.conn.Exec(ctx, "ALTER DATABASE "+quote(name)+" ALLOW_CONNECTIONS true") // the first error says more
		}
	}()
	if _, err := a.conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY ($1) AND pid <> pg_backend_pid()", live); err != nil {
		return err
	}
	tx, err := a.conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // after Commit it does nothing
	for _, r := range renames {
		if _, err := tx.Exec(ctx, "ALTER DATABASE "+quote(r.from)+" RENAME TO "+quote(r.to)); err != nil {
			return err
		}
	}
	for _, name := range open {
		if _, err := tx.Exec(ctx, "ALTER DATABASE "+quote(name)+" ALLOW_CONNECTIONS true"); err != nil {
			return err
		}
	}
	for _, name := range closed {
		if _, err := tx.Exec(ctx, "ALTER DATABASE "+quote(name)+" ALLOW_CONNECTIONS false"); err != nil {
			return err
		}
	}
	return tx.Commit(ctx)
}
