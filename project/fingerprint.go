package project

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"
)

// fingerprint is what a restored database is compared with. It is taken in the
// snapshot of the dump.
type fingerprint struct {
	Server    string                     `json:"server"` // version
	Major     int                        `json:"major"`  // of the server
	Tables    map[string]int64           `json:"tables"` // schema.table, rows
	Sequences map[string]*int64          `json:"sequences"`
	Objects   map[string]json.RawMessage `json:"objects"` // lists by what they list
}

// countedTables are those whose rows pg_dump writes: ordinary tables, and the
// parts of an extension's tables that it declares as configuration.
const countedTables = `
SELECT format('%I.%I', n.nspname, c.relname), coalesce(x.cond, '')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (SELECT true AS member, (SELECT e.extcondition[i] FROM generate_subscripts(e.extconfig, 1) i WHERE e.extconfig[i] = c.oid) AS cond
  FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e') x ON true
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_toast%' AND n.nspname NOT LIKE 'pg\_temp%'
  AND (x.member IS NULL OR x.cond IS NOT NULL)
ORDER BY 1`

// takeFingerprint runs on the session's connection, which nobody else may use
// meanwhile.
func takeFingerprint(ctx context.Context, s *Session) (*fingerprint, error) {
	s.counting.Store(true)
	defer s.counting.Store(false)
	f := &fingerprint{Major: s.major, Tables: map[string]int64{}, Sequences: map[string]*int64{}, Objects: map[string]json.RawMessage{}}
	if err := s.tx.QueryRow(ctx, "SELECT version()").Scan(&f.Server); err != nil {
		return nil, err
	}
	// Names in definitions shall be whole, whatever the role's search_path is.
	if _, err := s.tx.Exec(ctx, "SET LOCAL search_path = ''"); err != nil {
		return nil, err
	}
	for name, query := range objectLists() {
		if err := f.list(ctx, s.tx, name, query); err != nil {
			return nil, err
		}
	}
	for name, o := range optionalLists {
		there, err := s.has(ctx, o.table)
		if err != nil {
			return nil, err
		}
		if there {
			if err := f.list(ctx, s.tx, name, o.query); err != nil {
				return nil, err
			}
		}
	}
	if err := f.sequences(ctx, s.tx); err != nil {
		return nil, err
	}
	if _, err := s.tx.Exec(ctx, widePath); err != nil {
		return nil, err
	}
	return f, f.count(ctx, s.tx)
}

// widePath lets functions find what they name without a schema: even for counting
// rows the planner looks into those that indexes call.
const widePath = `SELECT set_config('search_path', (SELECT string_agg(quote_ident(s), ', ') FROM (
 SELECT 'public' AS s UNION SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace UNION SELECT 'extensions') q), true)`

func (f *fingerprint) list(ctx context.Context, tx pgx.Tx, name, query string) error {
	var b []byte
	err := tx.QueryRow(ctx, "SELECT coalesce(json_agg(q), '[]')::text FROM ("+query+") q").Scan(&b)
	f.Objects[name] = b
	return err
}

func (f *fingerprint) sequences(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, "SELECT format('%I.%I', schemaname, sequencename), last_value FROM pg_sequences")
	if err != nil {
		return err
	}
	var name string
	var last *int64
	_, err = pgx.ForEachRow(rows, []any{&name, &last}, func() error {
		f.Sequences[name] = last
		return nil
	})
	return err
}

// count counts the rows of every table. On a warm cache this costs a few per cent
// of the dump that runs beside it.
func (f *fingerprint) count(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, countedTables)
	if err != nil {
		return err
	}
	conditions := map[string]string{}
	var name, condition string
	if _, err := pgx.ForEachRow(rows, []any{&name, &condition}, func() error {
		conditions[name] = condition
		return nil
	}); err != nil {
		return err
	}
	for name, condition := range conditions {
		var n int64
		if err := tx.QueryRow(ctx, "SELECT count(*) FROM ONLY "+name+" "+condition).Scan(&n); err != nil {
			return err
		}
		f.Tables[name] = n
	}
	return nil
}
