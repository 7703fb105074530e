package project

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Server says how to reach the database server of a project.
type Server struct {
	// URL finds the server, as a postgres:// URL of the project's database. It
	// is asked for each backup, since the address of a container changes.
	URL   func(ctx context.Context) (string, error)
	Tools string // folder of pg_dump; empty: the usual places
}

// Session is the time of one backup. It holds an exported snapshot of the
// project's database, if there is one. It is for one part at a time.
type Session struct {
	// Wrecked says that the project is known to be damaged: parts of which nothing
	// is left are backed up as they are, with a warning.
	Wrecked bool

	server *Server
	url    string
	conn   *pgx.Conn
	tx     pgx.Tx
	major  int
	plain  bool   // the role is no superuser
	id     string // of the snapshot

	counting atomic.Bool
}

// appName is how Holdfast shows itself to the server.
const appName = "holdfast"

// connectTimeout is for servers that are away; a stuck backup is noticed later.
const connectTimeout = 20 * time.Second

// Open begins a session. server may be nil. The caller must call
// [Session.Close].
func Open(ctx context.Context, server *Server) (*Session, error) {
	if server == nil {
		return &Session{}, nil
	}
	u, err := server.URL(ctx)
	if err != nil {
		return nil, fail(err, "The database of the project cannot be found: %v", err)
	}
	s := &Session{server: server, url: u}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// sibling opens a session on another database of the same server.
func (s *Session) sibling(ctx context.Context, database string) (*Session, error) {
	u, err := url.Parse(s.url)
	if err != nil {
		return nil, err
	}
	u.Path = "/" + database
	return Open(ctx, &Server{URL: func(context.Context) (string, error) { return u.String(), nil }, Tools: s.server.Tools})
}

func (s *Session) begin(ctx context.Context) error {
	var err error
	if s.conn, err = connect(ctx, s.url, canonical); err != nil {
		return err
	}
	if s.tx, err = s.conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}); err != nil {
		return refused(err, "The database refused a transaction")
	}
	if err := s.tx.QueryRow(ctx, "SELECT pg_export_snapshot(), current_setting('server_version_num')::int / 10000, NOT rolsuper FROM pg_roles WHERE rolname = session_user").Scan(&s.id, &s.major, &s.plain); err != nil {
		return refused(err, "The database exported no snapshot")
	}
	return nil
}

// Close ends the session.
func (s *Session) Close() error {
	if s.conn == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.conn.Close(ctx) // rolls back; there was nothing to commit
}

// Counting reports whether the server is counting rows just now, which may take
// long and shows no other progress.
func (s *Session) Counting() bool { return s.counting.Load() }

// has reports whether the snapshot has a table.
func (s *Session) has(ctx context.Context, table string) (bool, error) {
	if s.tx == nil {
		return false, nil
	}
	var yes bool
	err := s.tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", table).Scan(&yes)
	return yes, err
}

// connectError says in a sentence why there is no connection.
func connectError(c *pgx.ConnConfig, err error) error {
	at := fmt.Sprintf("%s:%d", c.Host, c.Port)
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && (pg.Code == "28P01" || pg.Code == "28000"):
		return fail(err, "The database at %s refused the password of %s; check database.url or POSTGRES_PASSWORD.", at, c.User)
	case errors.As(err, &pg) && (pg.Code[:2] == "57" || pg.Code[:2] == "53"): // it starts, stops, or has too much to do
		return lost(err, "The database at %s takes no connections just now: %s.", at, pg.Message)
	case errors.As(err, &pg):
		return fail(err, "The database at %s refused the connection: %s.", at, pg.Message)
	case errors.Is(err, context.DeadlineExceeded):
		return lost(err, "The database at %s did not answer within %s.", at, connectTimeout)
	}
	return lost(err, "The database at %s cannot be reached; is it running?", at)
}

// refused says in a sentence why a query had no answer. It passes nil on.
func refused(err error, what string) error {
	var pg *pgconn.PgError
	var known *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &pg) && pg.Code[:2] != "57": // 57: the server is going down
		return fail(err, "%s: %s", what, pg.Message)
	}
	return lost(err, "%s: the connection to the database broke.", what)
}
