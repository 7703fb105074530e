package project

import (
	"context"
	"errors"
	"net/url"
	"strings"
)

// errNotURL quotes nothing: a URL holds a password.
var errNotURL = errors.New("database.url is not a URL such as postgres://user:password@host:5432/database")

// Find returns the URL of the project's database, with user, password and database in
// their places, however they are given.
func (s *Server) Find(ctx context.Context) (string, error) {
	raw, err := s.URL(ctx)
	if err != nil {
		return "", err
	}
	return orderly(raw)
}

// Role returns the role that Holdfast logs in as, or "" if nobody knows.
func (s *Server) Role(ctx context.Context) string {
	raw, err := s.Find(ctx)
	if err != nil {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.User.Username()
}

// orderly moves user, password and database from the parameters of a URL, where
// PostgreSQL takes them as well and prefers them, to where they belong. What changes
// one of them looks for it there only.
func orderly(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", errNotURL
	}
	q := u.Query()
	user, password, moved := u.User.Username(), "", false
	if u.User != nil {
		password, _ = u.User.Password()
	}
	for name, to := range map[string]func(string){
		"user":     func(v string) { user = v },
		"password": func(v string) { password = v },
		"dbname":   func(v string) { u.Path = "/" + v },
	} {
		if v := q[name]; len(v) > 0 {
			to(v[len(v)-1])
			q.Del(name)
			moved = true
		}
	}
	if !moved {
		return raw, nil
	}
	if u.User = url.User(user); password != "" {
		u.User = url.UserPassword(user, password)
	}
	u.RawQuery = encode(q)
	return u.String(), nil
}

// encode writes parameters as PostgreSQL reads them, to which a plus sign is one.
func encode(q url.Values) string { return strings.ReplaceAll(q.Encode(), "+", "%20") }

// secrets is what of a URL must not stand on a command line, which everybody can read.
type secrets struct {
	password    string
	sslPassword string // of the client's key
	options     string // for the server; they may hold anything, and would hide ours
}

// split returns a URL without its secrets.
func split(raw string) (conn string, s secrets, err error) {
	if raw, err = orderly(raw); err != nil {
		return "", s, err
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", s, errNotURL
	}
	if u.User != nil {
		s.password, _ = u.User.Password()
		u.User = url.User(u.User.Username())
	}
	q := u.Query()
	for name, to := range map[string]*string{"sslpassword": &s.sslPassword, "options": &s.options} {
		if v := q[name]; len(v) > 0 {
			*to = v[len(v)-1]
			q.Del(name)
			u.RawQuery = encode(q)
		}
	}
	return u.String(), s, nil
}
