package project

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// SQLSTATE codes that are told apart.
const (
	insufficientRight = "42501"
	invalidDatabase   = "3D000"
	lockNotAvailable  = "55P03"
	notInTheState     = "55000" // such as a database that is being dropped
	objectInUse       = "55006"
	protocolViolation = "08P01"
	queryCanceled     = "57014"
)

// connectError says in a sentence why there is no connection.
func connectError(c *pgx.ConnConfig, err error) error {
	at := fmt.Sprintf("%s:%d", c.Host, c.Port)
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && (pg.Code == "28P01" || pg.Code == "28000"):
		return fail(err, "The database at %s refused the password of %s; check database.url or POSTGRES_PASSWORD.", at, c.User)
	case errors.As(err, &pg) && (pg.Code[:2] == "57" || pg.Code[:2] == "53"): // it starts, stops, or has too much to do
		return lost(err, "The database at %s takes no connections just now: %s.", at, pg.Message)
	case errors.As(err, &pg) && pg.Code == protocolViolation && strings.Contains(pg.Message, "unsupported startup parameter"):
		return fail(err, "What answers at %s is a connection pooler (%s); database.url must lead to the database server itself.", at, pg.Message)
	case errors.As(err, &pg):
		return fail(err, "The database at %s refused the connection: %s.", at, said(pg))
	case errors.Is(err, context.DeadlineExceeded):
		return lost(err, "The database at %s did not answer within %s.", at, connectTimeout)
	}
	return lost(err, "The database at %s cannot be reached; is it running?", at)
}

// said returns what the server says of an error, with its detail and its hint.
func said(pg *pgconn.PgError) string {
	out := []string{strings.TrimSuffix(pg.Message, ".")}
	for _, more := range []string{pg.Detail, pg.Hint} {
		if more != "" {
			out = append(out, strings.TrimSuffix(strings.Join(strings.Fields(more), " "), "."))
		}
	}
	return cut(strings.Join(out, ". "), 600)
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
	case !errors.As(err, &pg), endsConnection(pg.Code):
		return lost(err, "%s: the connection to the database broke.", what)
	case pg.Code == insufficientRight:
		return fail(err, "%s: %s. Connect as a superuser, such as supabase_admin.", what, said(pg))
	case passes(pg.Code):
		return lost(err, "%s: %s", what, said(pg))
	}
	return fail(err, "%s: %s", what, said(pg))
}

// endsConnection reports whether the server ends the connection with an error of this
// code: it goes down, or one of its timeouts for sessions has passed. A query that is
// cancelled or takes too long is not among them.
func endsConnection(code string) bool {
	return code[:2] == "57" && code != queryCanceled || code[:2] == "08" || code == "25P03" || code == "25P04"
}

// passes reports whether an error of this code may be gone in a while: too much is
// going on, or another session holds what is needed.
func passes(code string) bool {
	return code[:2] == "53" || code[:2] == "40" || code == lockNotAvailable
}

// isCode reports whether err is an error of the server with one of the codes.
func isCode(err error, codes ...string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && slices.Contains(codes, pg.Code)
}
