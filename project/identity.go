package project

import (
	"context"
	"net"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// Address is where a database is, without the credentials.
type Address struct {
	Host     string // host:port
	Database string
}

// Address returns where the server's database is. It asks nobody but the resolver.
func (s *Server) Address(ctx context.Context) (Address, error) {
	raw, err := s.Find(ctx)
	if err != nil {
		return Address{}, err
	}
	conf, err := pgx.ParseConfig(raw)
	if err != nil {
		return Address{}, fail(nil, "database.url is not a URL that PostgreSQL understands.") // the error would quote it
	}
	host := conf.Host
	if host == "localhost" {
		host = "127.0.0.1"
	}
	return Address{net.JoinHostPort(host, strconv.Itoa(int(conf.Port))), conf.Database}, nil
}

// Identity tells databases apart, by whichever address they are reached.
type Identity struct {
	System   string // identifier that initdb gave to the cluster
	Database string
}

// Identify connects and returns what the database is, and the version of its server.
func (s *Server) Identify(ctx context.Context) (id Identity, version string, err error) {
	raw, err := s.Find(ctx)
	if err != nil {
		return id, "", fail(err, "The database of the project cannot be found: %v", err)
	}
	conn, err := connect(ctx, raw, canonical)
	if err != nil {
		return id, "", err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it only read
	err = conn.QueryRow(ctx, "SELECT system_identifier::text, current_database(), split_part(current_setting('server_version'), ' ', 1) FROM pg_control_system()").
		Scan(&id.System, &id.Database, &version)
	return id, version, wrapSQL(err)
}
