package project

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"
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

// durable returns the settings of a connection whose commits are on the disk when they
// are answered, whatever the server says: a crash must not forget half of a swap.
func durable() map[string]string {
	settings := maps.Clone(canonical)
	settings["synchronous_commit"] = "on"
	return settings
}

func openAdmin(ctx context.Context, s *Server) (*admin, error) {
	raw, err := s.Find(ctx)
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
	if a.conn, err = connect(ctx, a.on(beside), durable()); err != nil {
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

func (a *admin) client(database string) client {
	return client{dir: a.tools, major: a.major, url: a.on(database)}
}

func (a *admin) exists(ctx context.Context, database string) (yes bool, err error) {
	err = a.conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", database).Scan(&yes)
	return yes, wrapSQL(err)
}

// oid returns the oid of a database; 0 if there is none of this name.
func (a *admin) oid(ctx context.Context, database string) (oid uint32, err error) {
	err = a.conn.QueryRow(ctx, "SELECT coalesce((SELECT oid FROM pg_database WHERE datname = $1), 0)", database).Scan(&oid)
	return oid, wrapSQL(err)
}

func (a *admin) exec(ctx context.Context, statements ...string) error {
	for _, s := range statements {
		if _, err := a.conn.Exec(ctx, s); err != nil {
			return wrapSQL(err)
		}
	}
	return nil
}

// drop drops a database, if it is there, with the subscriptions that would keep it.
func (a *admin) drop(ctx context.Context, database string) error {
	if err := a.endOrphans(ctx, database); err != nil {
		return err
	}
	statement := "DROP DATABASE IF EXISTS " + quote(database) + " WITH (FORCE)"
	_, err := a.conn.Exec(ctx, statement)
	if isCode(err, objectInUse) {
		if err := a.dropSubscriptions(ctx, database); err != nil {
			return err
		}
		_, err = a.conn.Exec(ctx, statement)
	}
	return wrapSQL(err)
}

// endOrphans ends statements of ours that name a database, such as its creation: the server
// goes on with a statement when the process that has sent it was killed.
func (a *admin) endOrphans(ctx context.Context, database string) error {
	for begin := time.Now(); time.Since(begin) < connectTimeout; {
		var n int
		err := a.conn.QueryRow(ctx, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
 WHERE application_name = $1 AND pid <> pg_backend_pid() AND state = 'active' AND position($2 IN query) > 0`, appName, quote(database)).Scan(&n)
		if err != nil || n == 0 {
			return wrapSQL(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond): // until they have ended
		}
	}
	return nil // the statement that follows says what is in its way
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

// identifier returns what tells the server from all others.
func (a *admin) identifier(ctx context.Context) (id string, err error) {
	err = a.conn.QueryRow(ctx, "SELECT system_identifier::text FROM pg_control_system()").Scan(&id)
	return id, wrapSQL(err)
}

// backgroundWorkers counts, by kind, the background workers of extensions that are
// connected to a database.
func (a *admin) backgroundWorkers(ctx context.Context, database string) (map[string]int, error) {
	rows, err := a.conn.Query(ctx, `SELECT backend_type FROM pg_stat_activity WHERE datname = $1
 AND backend_type NOT IN ('client backend', 'walsender', 'autovacuum worker', 'parallel worker') AND backend_type NOT LIKE 'logical replication%'`, database)
	if err != nil {
		return nil, wrapSQL(err)
	}
	kinds, err := pgx.CollectRows(rows, pgx.RowTo[string])
	out := map[string]int{}
	for _, k := range kinds {
		out[k]++
	}
	return out, wrapSQL(err)
}
