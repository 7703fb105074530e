package project

import (
	"context"
	"errors"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
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
	used   bool   // something of the snapshot has been written

	found map[string]string // paths of client tools, by their names

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
	u, err := server.Find(ctx)
	if err != nil {
		return nil, fail(err, "The database of the project cannot be found: %v", err)
	}
	s := &Session{server: server, url: u, found: map[string]string{}}
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

// renew gives the session a new snapshot on a new connection.
func (s *Session) renew(ctx context.Context) error {
	_ = s.Close() // what it said is of no use any more
	s.conn, s.tx = nil, nil
	return s.begin(ctx)
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

// tentatively runs f in a savepoint and rolls back to it, so that an error of f does
// not end the transaction, and with it the snapshot. What f has locked is free again.
func (s *Session) tentatively(ctx context.Context, f func() error) error {
	if _, err := s.conn.Exec(ctx, "SAVEPOINT tentative"); err != nil {
		return err
	}
	err := f()
	if _, back := s.conn.PgConn().Exec(ctx, "ROLLBACK TO SAVEPOINT tentative; RELEASE SAVEPOINT tentative").ReadAll(); back != nil {
		return errors.Join(err, back)
	}
	return err
}
