// Package dbstate describes all that a database holds, so that a test can compare
// two of them. It shares no code and no query with what it tests.
package dbstate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// State returns lines that describe the database of a URL, by what they describe:
// rows, sequences, owners, acls, roles, memberships, settings and so on, see
// queries. The role must be a superuser. Members of extensions are described too.
func State(ctx context.Context, url string) (map[string][]string, error) {
	conn, err := connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	out := map[string][]string{}
	for what, query := range queries(serverMajor(conn)) {
		if out[what], err = lines(ctx, conn, query); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
	}
	for what, o := range optional {
		there, err := lines(ctx, conn, "SELECT 'yes' WHERE to_regclass('"+o.relation+"') IS NOT NULL")
		if err != nil {
			return nil, err
		}
		if len(there) == 0 {
			continue
		}
		if out[what], err = lines(ctx, conn, o.query); err != nil {
			out[what] = []string{"cannot be read: " + err.Error()}
		}
	}
	out["rows"], err = rows(ctx, conn)
	return out, err
}

// Schema returns what pg_dump of a folder says about everything but rows.
func Schema(ctx context.Context, bin, url string) ([]string, error) {
	var out []byte
	var err error
	const patient = "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0"
	for _, options := range []string{patient + " -c event_triggers=off -c transaction_timeout=0", patient} { // an older server knows no such settings
		cmd := exec.CommandContext(ctx, filepath.Join(bin, "pg_dump"), "--schema-only", "--create", "--dbname", url)
		cmd.Env = append(cmd.Environ(), "PGOPTIONS="+options)
		if out, err = cmd.Output(); err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("pg_dump: %w", err)
	}
	var keep []string
	for line := range strings.SplitSeq(string(out), "\n") {
		// pg_dump puts a random word into \restrict, and versions into comments.
		if line != "" && !strings.HasPrefix(line, "\\") && !strings.HasPrefix(line, "-- ") && line != "--" {
			keep = append(keep, line)
		}
	}
	return keep, nil
}

// Diff returns the lines in which two states differ: "what: - line" for one that is
// only in the first, "what: + line" for one that is only in the second.
func Diff(a, b map[string][]string) (out []string) {
	for what := range a {
		if _, ok := b[what]; !ok {
			out = append(out, what+": - everything")
		}
	}
	for what := range b {
		out = append(out, only(what+": - ", a[what], b[what])...)
		out = append(out, only(what+": + ", b[what], a[what])...)
	}
	slices.Sort(out)
	return out
}

// only returns the lines of a that are not in b, as often as they are missing there.
func only(prefix string, a, b []string) (out []string) {
	there := map[string]int{}
	for _, line := range b {
		there[line]++
	}
	for _, line := range a {
		if there[line]--; there[line] < 0 {
			out = append(out, prefix+line)
		}
	}
	return out
}

// connect opens a session in which values and names are written in one way, and, where
// the server can, without event triggers, which may write at each login.
func connect(ctx context.Context, url string) (*pgx.Conn, error) {
	c, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	maps.Copy(c.RuntimeParams, map[string]string{
		"application_name": "dbstate", "search_path": "", "TimeZone": "UTC", "DateStyle": "ISO, YMD", "IntervalStyle": "postgres", "extra_float_digits": "1", "bytea_output": "hex",
		"statement_timeout": "0", "idle_in_transaction_session_timeout": "0", "idle_session_timeout": "0", "standard_conforming_strings": "on", "quote_all_identifiers": "off", "client_encoding": "UTF8",
		"session_replication_role": "replica", "event_triggers": "off", "transaction_timeout": "0",
	})
	conn, err := pgx.ConnectConfig(ctx, c)
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == "42704" { // an older server knows no such settings
		delete(c.RuntimeParams, "event_triggers")
		delete(c.RuntimeParams, "transaction_timeout")
		return pgx.ConnectConfig(ctx, c)
	}
	return conn, err
}

func serverMajor(conn *pgx.Conn) (major int) {
	_, _ = fmt.Sscanf(conn.PgConn().ParameterStatus("server_version"), "%d", &major) // 0 is as old as can be
	return major
}

func lines(ctx context.Context, conn *pgx.Conn, query string) ([]string, error) {
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (line string, err error) {
		var part *string
		if err := row.Scan(&part); err != nil || part == nil {
			return "", err
		}
		return *part, nil
	})
	slices.Sort(out)
	return out, err
}

// rows describes the rows of each table and materialized view: how many, and a sum.
func rows(ctx context.Context, conn *pgx.Conn) (out []string, err error) {
	names, err := lines(ctx, conn, `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'`)
	if err != nil {
		return nil, err
	}
	// The planner looks into the functions of indexes, which may name others without a
	// schema.
	if _, err := conn.Exec(ctx, `SELECT set_config('search_path', string_agg(quote_ident(n.nspname), ', ' ORDER BY n.nspname), false) FROM pg_namespace n WHERE`+user); err != nil {
		return nil, err
	}
	for _, name := range names {
		sum, err := lines(ctx, conn, `SELECT format('%s rows, %s', count(*), md5(string_agg(x::text, E'\n' ORDER BY x::text COLLATE "C"))) FROM ONLY `+name+` x`)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, name+": "+sum[0])
	}
	return out, nil
}
