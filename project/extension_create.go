package project

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
)

// describe gathers the statements that make the table: its sequences first, then the
// table, then what is added to it.
func (t *extensionTable) describe(ctx context.Context, s *Session) error {
	t.Create, t.Members = nil, nil
	for _, query := range []string{createSequences, createTable, ownSequences, createConstraints, createIndexes, createComments} {
		rows, err := s.tx.Query(ctx, query, t.oid)
		if err != nil {
			return err
		}
		statements, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		t.Create = append(t.Create, statements...)
	}
	rows, err := s.tx.Query(ctx, stateOfSequences, t.oid)
	if err != nil {
		return err
	}
	var name string
	var last *int64
	var member bool
	_, err = pgx.ForEachRow(rows, []any{&name, &last, &member}, func() error {
		t.Sequences[name] = last
		if member {
			t.Members = append(t.Members, name)
		}
		return nil
	})
	return err
}

// Of sequences: those of serial columns are made before the table, whose defaults name
// them; those of identity columns by the table itself.
const (
	ownedSequences = `FROM pg_depend d JOIN pg_class q ON q.oid = d.objid AND q.relkind = 'S' JOIN pg_namespace n ON n.oid = q.relnamespace JOIN pg_sequence s ON s.seqrelid = q.oid
 JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0 AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1 AND d.refobjsubid > 0`

	sequenceOptions = `format('INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s%s', s.seqincrement, s.seqmin, s.seqmax, s.seqstart, s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' END)`

	createSequences = `SELECT format('CREATE SEQUENCE IF NOT EXISTS %I.%I AS %s ', n.nspname, q.relname, format_type(s.seqtypid, NULL)) || ` + sequenceOptions + ` ` + ownedSequences + ` AND d.deptype = 'a' ORDER BY a.attnum`

	ownSequences = `SELECT format('ALTER SEQUENCE %I.%I OWNED BY %s.%I', n.nspname, q.relname, d.refobjid::regclass, a.attname) ` + ownedSequences + ` AND d.deptype = 'a' ORDER BY a.attnum`

	stateOfSequences = `SELECT format('%I.%I', n.nspname, q.relname), CASE WHEN has_sequence_privilege(q.oid, 'SELECT,USAGE') THEN pg_sequence_last_value(q.oid::regclass) END,
 EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = q.oid AND e.refclassid = 'pg_extension'::regclass AND e.deptype = 'e') ` + ownedSequences + ` AND d.deptype IN ('a', 'i') ORDER BY 1`
)

// createTable makes a table with its columns, or as a partition or child of others.
const createTable = `
SELECT concat('CREATE TABLE ', c.oid::regclass,
 CASE WHEN c.relispartition THEN format(' PARTITION OF %s %s', (SELECT i.inhparent::regclass FROM pg_inherits i WHERE i.inhrelid = c.oid), pg_get_expr(c.relpartbound, c.oid)) ELSE
 ' (' || coalesce((SELECT string_agg(concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
   CASE WHEN a.attcollation <> t.typcollation THEN (SELECT format('COLLATE %I.%I', l.nspname, k.collname) FROM pg_collation k JOIN pg_namespace l ON l.oid = k.collnamespace WHERE k.oid = a.attcollation) END,
   CASE WHEN a.attgenerated <> '' THEN format('GENERATED ALWAYS AS (%s) STORED', pg_get_expr(f.adbin, f.adrelid))
    WHEN a.attidentity <> '' THEN format('GENERATED %s AS IDENTITY (SEQUENCE NAME ', CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END) ||
     (SELECT format('%I.%I ', n.nspname, q.relname) || ` + sequenceOptions + ` ` + ownedSequences + ` AND d.deptype = 'i' AND d.refobjsubid = f0.attnum) || ')'
    WHEN f.adbin IS NOT NULL THEN 'DEFAULT ' || pg_get_expr(f.adbin, f.adrelid) END,
   CASE WHEN a.attnotnull THEN 'NOT NULL' END), ', ' ORDER BY a.attnum)
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum CROSS JOIN LATERAL (SELECT a.attnum) f0
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '') || ')' ||
 coalesce((SELECT ' INHERITS (' || string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno) || ')' FROM pg_inherits i WHERE i.inhrelid = c.oid), '') END,
 CASE WHEN c.relkind = 'p' THEN ' PARTITION BY ' || pg_get_partkeydef(c.oid) END,
 CASE WHEN c.reloptions IS NOT NULL THEN format(' WITH (%s)', array_to_string(c.reloptions, ', ')) END)
FROM pg_class c WHERE c.oid = $1
UNION ALL SELECT format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', c.oid::regclass) FROM pg_class c WHERE c.oid = $1 AND c.relrowsecurity
UNION ALL SELECT format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', c.oid::regclass) FROM pg_class c WHERE c.oid = $1 AND c.relforcerowsecurity`

// createConstraints leaves out what a partition has of its parent.
const createConstraints = `
SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', o.conrelid::regclass, o.conname, pg_get_constraintdef(o.oid)) FROM pg_constraint o
WHERE o.conrelid = $1 AND o.contype IN ('p', 'u', 'x', 'c', 'f') AND o.conislocal AND o.coninhcount = 0 AND o.conparentid = 0 ORDER BY o.contype = 'f', o.contype <> 'p', o.conname`

// createIndexes makes an index of a partitioned table on its partitions as well, which
// is left out of theirs.
const createIndexes = `
SELECT CASE c.relkind WHEN 'p' THEN regexp_replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ') ELSE pg_get_indexdef(i.indexrelid) END
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
WHERE i.indrelid = $1 AND i.indisready AND (i.indisvalid OR c.relkind = 'p') AND NOT x.relispartition
 AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = i.indexrelid AND o.conrelid = i.indrelid AND o.contype IN ('p', 'u', 'x')) ORDER BY x.relname`

const createComments = `
SELECT format('COMMENT ON %s IS %L', CASE WHEN a.attnum IS NULL THEN format('TABLE %s', d.objoid::regclass) ELSE format('COLUMN %s.%I', d.objoid::regclass, a.attname) END, d.description)
FROM pg_description d LEFT JOIN pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid AND d.objsubid > 0
WHERE d.classoid = 'pg_class'::regclass AND d.objoid = $1 ORDER BY d.objsubid`

// identifiers joins names as SQL lists them.
func identifiers(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = quote(n)
	}
	return strings.Join(quoted, ", ")
}
