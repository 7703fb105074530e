package project

import (
	"context"
	"errors"
	"maps"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// shield holds the settings that every session of ours starts with, whatever the
// server, the database or the role says: timeouts must not end a backup or a
// restore, and a database or role that is read-only by default can be restored all
// the same. PostgreSQL's client tools get it too, see [toolOptions].
var shield = map[string]string{
	"lc_messages":                         "C", // some of what the server says decides what is done
	"application_name":                    appName,
	"statement_timeout":                   "0",
	"lock_timeout":                        "0",
	"idle_in_transaction_session_timeout": "0",
	"default_transaction_read_only":       "off",
	"default_transaction_isolation":       "read committed",
	"default_transaction_deferrable":      "off",
	"standard_conforming_strings":         "on", // our own statements are written so
}

// shieldSince adds the settings that came with later major versions, which an older
// server refuses to hear of.
var shieldSince = map[int]map[string]string{
	14: {"idle_session_timeout": "0"},
	17: {"transaction_timeout": "0", "event_triggers": "off"},
}

// canonical holds the settings on which the text of values and definitions depends.
// Sessions that read have it, so that what two of them read can be compared. Those
// that fill a database do not: what is computed there must be computed as the
// database's own settings say.
var canonical = map[string]string{
	"DateStyle":             "ISO, YMD",
	"IntervalStyle":         "postgres",
	"TimeZone":              "UTC",
	"extra_float_digits":    "1",
	"bytea_output":          "hex",
	"xmloption":             "content",
	"quote_all_identifiers": "off",
	"row_security":          "off",
	"search_path":           "",
	"client_min_messages":   "warning",
}

// restoring holds the settings of sessions that change what they restore: no trigger
// fires, and no body of a function is looked into. Their texts are canonical.
var restoring = func() map[string]string {
	out := maps.Clone(canonical)
	out["session_replication_role"], out["check_function_bodies"] = "replica", "off"
	return out
}()

// connect opens a connection to a database with the shield and more settings. All
// connections of this package are made here. The caller must close it.
func connect(ctx context.Context, url string, settings map[string]string) (*pgx.Conn, error) {
	conf, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fail(nil, "database.url is not a URL that PostgreSQL understands.") // the error would quote it
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	at := serverKey{net.JoinHostPort(conf.Host, strconv.Itoa(int(conf.Port))), conf.User}
	for {
		k := servers.get(at)
		c := conf.Copy()
		c.RuntimeParams["client_encoding"] = "UTF8" // what Go's strings are
		maps.Copy(c.RuntimeParams, k.shield())
		maps.Copy(c.RuntimeParams, settings)
		conn, err := pgx.ConnectConfig(ctx, c)
		var pg *pgconn.PgError
		switch {
		case err == nil:
			is := serverKind{majorOf(conn), k.plain}
			servers.put(at, is)
			if maps.Equal(is.shield(), k.shield()) {
				return conn, nil
			}
			_ = conn.Close(ctx) // it lacks a part of its shield
		case !errors.As(err, &pg):
			return nil, connectError(conf, err)
		case pg.Code == "42704" && k.major > oldestMajor: // undefined_object: it is older than we thought
			servers.put(at, serverKind{oldestMajor, k.plain})
		case pg.Code == "42501" && !k.plain: // insufficient_privilege: only a superuser may switch event triggers off
			servers.put(at, serverKind{k.major, true})
		default:
			return nil, connectError(conf, err)
		}
	}
}

const (
	oldestMajor = 12
	newestMajor = 99
)

// serverKey is a server and the role that connects to it.
type serverKey struct{ address, role string }

// serverKind is what must be known of a server before the first packet is sent: in
// PostgreSQL 17 event triggers fire at login.
type serverKind struct {
	major int
	plain bool // the role is no superuser
}

func (k serverKind) shield() map[string]string {
	out := maps.Clone(shield)
	for since, settings := range shieldSince {
		if k.major >= since {
			maps.Copy(out, settings)
		}
	}
	if k.plain {
		delete(out, "event_triggers")
		delete(out, "lc_messages")
	}
	return out
}

// servers remembers what was learned of servers, so that only the first connection
// to an old one is refused. It is a cache: what it says wrong, the server corrects.
var servers serverKinds

type serverKinds struct {
	mu sync.Mutex
	m  map[serverKey]serverKind
}

func (s *serverKinds) get(at serverKey) serverKind {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, ok := s.m[at]; ok {
		return k
	}
	return serverKind{major: newestMajor}
}

func (s *serverKinds) put(at serverKey, k serverKind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[serverKey]serverKind{}
	}
	s.m[at] = k
}

// majorOf returns the major version of a connection's server.
func majorOf(conn *pgx.Conn) int {
	v := conn.PgConn().ParameterStatus("server_version") // such as 17.12 (Debian …) or 18beta1
	n := 0
	for n < len(v) && v[n] >= '0' && v[n] <= '9' {
		n++
	}
	major, _ := strconv.Atoi(v[:n]) // 0 for nonsense, as for the oldest
	return major
}

// toolOptions returns the shield as PGOPTIONS takes it, for PostgreSQL's client
// tools, which set the formats of values themselves. plain says that the role is no
// superuser.
func toolOptions(major int, plain bool, extra ...string) string {
	var out []string
	for name, value := range (serverKind{major, plain}).shield() {
		if name != "application_name" {
			out = append(out, "-c "+name+"="+strings.ReplaceAll(value, " ", `\ `))
		}
	}
	return strings.Join(append(out, extra...), " ")
}
