package project

import (
	"context"
	"net/url"
)

// Credentials knows the password that the files of a project give to its services,
// with which these log in to the database.
type Credentials interface {
	// Password returns it. Unless it is "", built is a folder with configuration files
	// that are about to take the place of the project's; nothing is written there but
	// links, in a folder of its own that is removed again.
	Password(ctx context.Context, built string) (string, error)

	// SetPassword changes the files in built, and nothing else of them, so that they
	// give another password. It returns the names of those that it has changed.
	SetPassword(ctx context.Context, built, password string) ([]string, error)

	// Fixed reports whether Holdfast logs in with a password that the files of the
	// project do not decide.
	Fixed() bool
}

// as returns a URL with another role and password.
func as(raw, role, password string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw // connect says what is wrong with it
	}
	u.User = url.UserPassword(role, password)
	return u.String()
}

// WithPasswords returns the server for a time in which its role has its password or one
// of these: nobody knows which of them until a login succeeds.
func (s *Server) WithPasswords(passwords ...string) *Server {
	find := func(ctx context.Context) (string, error) {
		raw, err := s.Find(ctx)
		if err != nil {
			return "", err
		}
		u, err := url.Parse(raw)
		if err != nil || u.User == nil {
			return raw, nil //nolint:nilerr // whoever connects says what is wrong with it
		}
		for _, candidate := range append([]string{raw}, urls(raw, u.User.Username(), passwords)...) {
			conn, err := connect(ctx, candidate, nil)
			if err == nil {
				_ = conn.Close(ctx) // it has done its work
			}
			if !isCode(err, invalidPassword) {
				return candidate, nil
			}
		}
		return raw, nil
	}
	return &Server{URL: find, Tools: s.Tools}
}

func urls(raw, role string, passwords []string) (out []string) {
	for _, p := range passwords {
		if p != "" {
			out = append(out, as(raw, role, p))
		}
	}
	return out
}
