package project

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Codes with which a server refuses a login.
const (
	invalidAuthorization = "28000"
	invalidPassword      = "28P01"
)

// roleVerifier is what a server keeps of the password of a role.
type roleVerifier struct {
	name, verifier string
	login          bool // the role may log in now
}

func roleVerifiers(ctx context.Context, a *admin) ([]roleVerifier, error) {
	rows, err := a.conn.Query(ctx, `SELECT rolname, rolpassword, rolcanlogin AND coalesce(rolvaliduntil > now(), true)
 FROM pg_authid WHERE rolpassword IS NOT NULL ORDER BY rolname`)
	if err != nil {
		return nil, refused(err, "The passwords of roles could not be read")
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r roleVerifier, err error) {
		return r, row.Scan(&r.name, &r.verifier, &r.login)
	})
	return out, refused(err, "The passwords of roles could not be read")
}

func (r roleVerifier) hasOneOf(passwords []string) bool {
	return slices.ContainsFunc(passwords, func(p string) bool { return p != "" && verifies(r.verifier, r.name, p) })
}

// RolesWith returns the roles that have a password. Passwords are compared with what
// the server keeps of them, so nobody needs to log in.
func (s *Server) RolesWith(ctx context.Context, password string) (roles []string, err error) {
	a, err := openAdmin(ctx, s)
	if err != nil {
		return nil, err
	}
	defer a.close() //nolint:errcheck // it only read
	all, err := roleVerifiers(ctx, a)
	for _, r := range all {
		if r.hasOneOf([]string{password}) {
			roles = append(roles, r.name)
		}
	}
	return roles, err
}

// ChangePasswords gives the password to the roles that have one of the passwords
// from, apart from those that are to be left alone: all of them or, after an error,
// none.
func (s *Server) ChangePasswords(ctx context.Context, from []string, to string, except []string) error {
	a, err := openAdmin(ctx, s)
	if err != nil {
		return err
	}
	defer a.close() //nolint:errcheck // nothing is pending
	m, err := a.verifierMethod(ctx)
	if err != nil {
		return err
	}
	all, err := roleVerifiers(ctx, a)
	if err != nil {
		return err
	}
	tx, err := a.conn.Begin(ctx)
	if err != nil {
		return refused(err, "The passwords of roles could not be changed")
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // after Commit it does nothing
	// What a server keeps of a password is a secret too.
	statements := []string{"SET LOCAL log_statement = 'none'", "SET LOCAL log_min_duration_statement = -1", "SET LOCAL log_min_error_statement = 'panic'"}
	for _, r := range all {
		if slices.Contains(except, r.name) || r.hasOneOf([]string{to}) || !r.hasOneOf(from) {
			continue
		}
		v, err := newVerifier(m, r.name, to)
		if err != nil {
			return err
		}
		statements = append(statements, "ALTER ROLE "+quote(r.name)+" PASSWORD '"+v+"'")
	}
	for _, statement := range statements {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return refused(err, "The passwords of roles could not be changed")
		}
	}
	return refused(tx.Commit(ctx), "The passwords of roles could not be changed")
}

// verifierMethod returns how the server itself would hash a password.
func (a *admin) verifierMethod(ctx context.Context) (m verifierMethod, err error) {
	var encryption, iterations string
	err = a.conn.QueryRow(ctx, "SELECT current_setting('password_encryption'), coalesce(current_setting('scram_iterations', true), '')").Scan(&encryption, &iterations)
	m.md5 = encryption == "md5"
	if m.iterations, _ = strconv.Atoi(iterations); m.iterations < 1 { // before PostgreSQL 16
		m.iterations = scramDefault
	}
	return m, wrapSQL(err)
}

// LogIn proves that roles have a password: by what the server keeps of it, since a
// server may trust whoever connects from here, and by logging in. It returns the roles
// that the server does not let in for other reasons.
func (s *Server) LogIn(ctx context.Context, roles []string, password string) (notTried []string, err error) {
	a, err := openAdmin(ctx, s)
	if err != nil {
		return nil, err
	}
	defer a.close() //nolint:errcheck // it only read
	all, err := roleVerifiers(ctx, a)
	if err != nil {
		return nil, err
	}
	var wrong []string
	for _, r := range all {
		if !slices.Contains(roles, r.name) {
			continue
		}
		if !r.hasOneOf([]string{password}) {
			wrong = append(wrong, r.name)
			continue
		}
		if !r.login {
			continue
		}
		switch refusal, err := a.refusal(ctx, r.name, password); {
		case err != nil:
			return nil, err
		case refusal == invalidPassword:
			wrong = append(wrong, r.name)
		case refusal == invalidAuthorization || strings.HasPrefix(refusal, "53"): // pg_hba.conf, or too many connections
			notTried = append(notTried, r.name)
		}
	}
	if wrong != nil {
		return nil, fail(nil, "The roles %s cannot log in with the password of the project's files.", strings.Join(wrong, ", "))
	}
	return notTried, nil
}

// refusal logs in and returns the code with which the server refuses that, or "". The
// event triggers of the database do not fire: a role that may not switch them off is
// refused for that, once its password is found right.
func (a *admin) refusal(ctx context.Context, role, password string) (code string, err error) {
	conf, err := pgx.ParseConfig(as(a.url, role, password))
	if err != nil {
		return "", fail(nil, "database.url is not a URL that PostgreSQL understands.") // the error would quote it
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	maps.Copy(conf.RuntimeParams, serverKind{major: a.major}.shield())
	conn, err := pgx.ConnectConfig(ctx, conf)
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return "", conn.Close(ctx)
	case errors.As(err, &pg) && !endsConnection(pg.Code):
		return pg.Code, nil
	}
	return "", connectError(conf, err)
}
