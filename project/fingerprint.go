package project

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5"
)

// fingerprint is what a restored database is compared with. It is taken in the
// snapshot of the dump.
type fingerprint struct {
	Server    string            `json:"server"` // version
	Major     int               `json:"major"`  // of the server
	Tables    map[string]int64  `json:"tables"` // schema.table, rows
	Sequences map[string]*int64 `json:"sequences"`

	ExtensionTables []*extensionTable          `json:"extension_tables,omitempty"`
	Objects         map[string]json.RawMessage `json:"objects"` // lists by what they list

	names     map[relationName]string // of tables and sequences, as the maps above have them
	uncounted map[string]error        // tables without a row in Tables
}

// relationName is the name of a table or sequence without quotes.
type relationName struct{ schema, name string }

// countedTables are those whose rows pg_dump writes: ordinary tables, and the
// parts of an extension's tables that it declares as configuration.
const countedTables = `
SELECT n.nspname, c.relname, format('%I.%I', n.nspname, c.relname), coalesce(x.cond, '')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (SELECT true AS member, (SELECT e.extcondition[i] FROM generate_subscripts(e.extconfig, 1) i WHERE e.extconfig[i] = c.oid) AS cond
  FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e') x ON true
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_toast%' AND n.nspname NOT LIKE 'pg\_temp%'
  AND (x.member IS NULL OR x.cond IS NOT NULL)
ORDER BY 1, 2`

func newFingerprint(s *Session) *fingerprint {
	return &fingerprint{
		Major: s.major, Tables: map[string]int64{}, Sequences: map[string]*int64{}, Objects: map[string]json.RawMessage{},
		names: map[relationName]string{}, uncounted: map[string]error{},
	}
}

// takeFingerprint runs on the session's connection, which nobody else may use
// meanwhile.
func takeFingerprint(ctx context.Context, s *Session) (*fingerprint, error) {
	f := newFingerprint(s)
	if err := f.describe(ctx, s); err != nil {
		return nil, err
	}
	if err := f.count(ctx, s); err != nil {
		return nil, err
	}
	return f, f.countExtensionTables(ctx, s)
}

// describe lists the objects of the database. Nothing stays locked, since pg_dump would
// wait for a session that waits for such a lock.
func (f *fingerprint) describe(ctx context.Context, s *Session) error {
	err := s.tx.QueryRow(ctx, "SELECT version()").Scan(&f.Server)
	lists := objectLists(s.major)
	if !s.plain {
		maps.Copy(lists, superuserLists)
	}
	for name, query := range lists {
		if err == nil {
			err = f.list(ctx, s, name, query)
		}
	}
	for name, o := range optionalLists {
		if err == nil {
			err = f.optional(ctx, s, name, o.table, o.query)
		}
	}
	if err == nil {
		err = s.tentatively(ctx, func() error { return f.extensionTables(ctx, s) })
	}
	if err == nil {
		err = f.vault(ctx, s)
	}
	if err == nil {
		err = s.tentatively(ctx, func() error { return f.sequences(ctx, s.tx) })
	}
	return describeError(err)
}

func describeError(err error) error {
	out := refused(err, "The objects of the database could not be listed")
	if isRace(err) {
		return &staleError{out}
	}
	return out
}

func (f *fingerprint) list(ctx context.Context, s *Session, name, query string) error {
	return s.tentatively(ctx, func() error {
		var b []byte
		err := s.tx.QueryRow(ctx, "SELECT coalesce(json_agg(q), '[]')::text FROM ("+query+") q").Scan(&b)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		f.Objects[name] = b
		return nil
	})
}

// optional lists what is in a table that not every project has, and not every role may
// read.
func (f *fingerprint) optional(ctx context.Context, s *Session, name, table, query string) error {
	there, err := s.has(ctx, table)
	if err != nil || !there {
		return err
	}
	if err := f.list(ctx, s, name, query); !isCode(err, insufficientRight) {
		return err
	}
	return nil
}

func (f *fingerprint) sequences(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, sequenceStates)
	if err != nil {
		return err
	}
	var raw relationName
	var name string
	var last *int64
	_, err = pgx.ForEachRow(rows, []any{&raw.schema, &raw.name, &name, &last}, func() error {
		f.Sequences[name], f.names[raw] = last, name
		return nil
	})
	return err
}
