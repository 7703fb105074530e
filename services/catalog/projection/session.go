package projection

import (
	"context"
	"database/sql"
	"errors"
)

// session is a connection to a file, and the statements that were prepared on it. One
// goroutine at a time may use it.
type session struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

// newSession opens a session, which the caller must close.
func newSession(ctx context.Context, db *sql.DB) (*session, error) {
	conn, err := db.Conn(ctx)
	return &session{conn, map[string]*sql.Stmt{}}, err
}

func (s *session) close() error {
	var errs []error
	for _, stmt := range s.stmts {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, s.conn.Close())...)
}

// stmt returns a prepared statement. It is closed with the session.
func (s *session) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt := s.stmts[query]; stmt != nil {
		return stmt, nil
	}
	stmt, err := s.conn.PrepareContext(ctx, query)
	if err == nil {
		s.stmts[query] = stmt
	}
	return stmt, err
}

func (s *session) exec(ctx context.Context, query string, args ...any) error {
	stmt, err := s.stmt(ctx, query) //nolint:sqlclosecheck // is closed with the session
	if err == nil {
		_, err = stmt.ExecContext(ctx, args...)
	}
	return err
}

// each calls f for the rows of a query.
func (s *session) each(ctx context.Context, query string, f func(*sql.Rows) error, args ...any) error {
	stmt, err := s.stmt(ctx, query) //nolint:sqlclosecheck // is closed with the session
	if err != nil {
		return err
	}
	rs, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer rs.Close() //nolint:errcheck // read only
	for rs.Next() {
		if err := f(rs); err != nil {
			return err
		}
	}
	return rs.Err()
}
