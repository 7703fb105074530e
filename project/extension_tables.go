package project

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// extensionTable is a table that an extension owns and of which pg_dump does not write
// all rows: it takes none of a table that is not the extension's configuration, and of
// others those that meet a condition of the extension. The rest is in the archive too.
type extensionTable struct {
	Schema    string            `json:"schema"`
	Name      string            `json:"name"`
	Extension string            `json:"extension"`
	Version   string            `json:"version"`   // of the extension
	Rows      int64             `json:"rows"`      // that pg_dump does not write
	Outside   bool              `json:"outside"`   // only the rows outside of the condition
	Condition string            `json:"condition"` // WHERE …, of the rows that pg_dump writes
	File      string            `json:"file,omitempty"`
	Columns   []string          `json:"columns"`   // of the file, in its order
	Create    []string          `json:"create"`    // statements that make the table, if CREATE EXTENSION does not
	Sequences map[string]*int64 `json:"sequences"` // of its columns, and where they stand
	Members   []string          `json:"members"`   // those of the sequences that belong to the extension too

	oid      uint32
	label    string // the name of the table as SQL takes it
	kind     string // relkind
	readable bool   // the role may read it
	err      error  // why a restore could not make it
}

// qualified returns the name of the table as SQL takes it.
func (t *extensionTable) qualified() string { return quote(t.Schema, t.Name) }

// others returns a condition for the rows that pg_dump does not write.
func (t *extensionTable) others() string {
	if !t.Outside {
		return ""
	}
	return " t WHERE NOT EXISTS (SELECT FROM (SELECT ctid AS dumped FROM ONLY " + t.qualified() + " " + t.Condition + ") d WHERE d.dumped = t.ctid)"
}

// listExtensionTables lists permanent tables of extensions, parents before their partitions
// and children, else in the order in which they were made. Those that are configuration as a whole are not among them.
const listExtensionTables = `
WITH RECURSIVE below AS (
 SELECT i.inhrelid AS oid, 1 AS depth FROM pg_inherits i WHERE NOT EXISTS (SELECT FROM pg_inherits u WHERE u.inhrelid = i.inhparent)
 UNION SELECT i.inhrelid, b.depth + 1 FROM pg_inherits i JOIN below b ON b.oid = i.inhparent)
SELECT c.oid, format('%I.%I', n.nspname, c.relname), n.nspname, c.relname, c.relkind::text, e.extname, e.extversion, x.condition IS NOT NULL, coalesce(x.condition, ''), has_table_privilege(c.oid, 'SELECT'),
 ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum)
FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid JOIN pg_class c ON c.oid = d.objid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (SELECT e.extcondition[i] AS condition FROM generate_subscripts(e.extconfig, 1) i WHERE e.extconfig[i] = c.oid) x ON true
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
 AND x.condition IS DISTINCT FROM '' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
ORDER BY (SELECT max(b.depth) FROM below b WHERE b.oid = c.oid) NULLS FIRST, 1`

// extensionTables lists the tables of extensions whose rows pg_dump does not write, with
// the statements that make them.
func (f *fingerprint) extensionTables(ctx context.Context, s *Session) error {
	rows, err := s.tx.Query(ctx, listExtensionTables)
	if err != nil {
		return err
	}
	f.ExtensionTables, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (*extensionTable, error) {
		t := &extensionTable{Sequences: map[string]*int64{}}
		return t, row.Scan(&t.oid, &t.label, &t.Schema, &t.Name, &t.kind, &t.Extension, &t.Version, &t.Outside, &t.Condition, &t.readable, &t.Columns)
	})
	for _, t := range f.ExtensionTables {
		if err == nil {
			err = t.describe(ctx, s)
		}
	}
	return err
}

// carried returns the names of the tables whose rows are in the archive and which pg_dump
// does not lock.
func (f *fingerprint) carried() (names []string) {
	for _, t := range f.ExtensionTables {
		if t.readable && t.kind == "r" && !t.Outside {
			names = append(names, t.label)
		}
	}
	return names
}

// countExtensionTables counts the rows of tables of extensions that pg_dump does not write.
func (f *fingerprint) countExtensionTables(ctx context.Context, s *Session) error {
	path, err := s.widePath(ctx)
	if err != nil {
		return err
	}
	for _, t := range f.ExtensionTables {
		if t.kind != "r" || !t.readable {
			continue
		}
		t.Rows, err = s.countRows(ctx, countedTable{relationName{t.Schema, t.Name}, t.label, t.others()}, path)
		if err != nil && s.conn.IsClosed() {
			return refused(err, "The rows of extensions could not be counted")
		}
	}
	return nil
}
