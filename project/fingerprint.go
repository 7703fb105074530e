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

// objectLists are queries that each return one JSON list. Roles come without
// their passwords.
var objectLists = map[string]string{
	"extensions":     `SELECT e.extname AS name, e.extversion AS version, n.nspname AS schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY 1`,
	"roles":          `SELECT rolname AS name, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit FROM pg_roles WHERE rolname NOT LIKE 'pg\_%' ORDER BY 1`,
	"memberships":    `SELECT r.rolname AS role, m.rolname AS member, a.admin_option FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member ORDER BY 1, 2`,
	"settings":       `SELECT d.datname AS database, r.rolname AS role, (SELECT array_agg(split_part(c, '=', 1) ORDER BY c) FROM unnest(s.setconfig) c) AS names, md5(array_to_string(s.setconfig, E'\n')) AS md5 FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = 0 OR d.datname = current_database() ORDER BY 1, 2`,
	"database":       `SELECT datname AS name, pg_get_userbyid(datdba) AS owner, datacl::text[] AS acl, pg_encoding_to_char(encoding) AS encoding, datcollate, datctype, pg_database_size(oid) AS bytes FROM pg_database WHERE datname = current_database()`,
	"schemas":        `SELECT nspname AS name, pg_get_userbyid(nspowner) AS owner, nspacl::text[] AS acl FROM pg_namespace WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema' ORDER BY 1`,
	"relations":      `SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind AS kind, pg_get_userbyid(c.relowner) AS owner, c.relacl::text[] AS acl, c.relrowsecurity AS rls, c.relforcerowsecurity AS forced_rls, c.relispopulated AS populated FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema' ORDER BY 1, 2`,
	"functions":      `SELECT p.oid::regprocedure::text AS name, n.nspname AS schema, pg_get_userbyid(p.proowner) AS owner, p.proacl::text[] AS acl FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema' ORDER BY 2, 1`,
	"constraints":    `SELECT conrelid::regclass::text AS relation, conname AS name, contype AS kind, convalidated AS validated FROM pg_constraint WHERE conrelid <> 0 AND connamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2`,
	"indexes":        `SELECT format('%I.%I', schemaname, indexname) AS name FROM pg_indexes WHERE schemaname NOT LIKE 'pg\_%' ORDER BY 1`,
	"policies":       `SELECT format('%I.%I', schemaname, tablename) AS relation, policyname AS name, roles::text[] AS roles, cmd FROM pg_policies ORDER BY 1, 2`,
	"triggers":       `SELECT tgrelid::regclass::text AS relation, tgname AS name, tgenabled AS enabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2`,
	"event_triggers": `SELECT evtname AS name, evtevent AS event, pg_get_userbyid(evtowner) AS owner, evtenabled AS enabled FROM pg_event_trigger ORDER BY 1`,
	"publications":   `SELECT p.pubname AS name, pg_get_userbyid(p.pubowner) AS owner, (SELECT array_agg(format('%I.%I', schemaname, tablename) ORDER BY 1) FROM pg_publication_tables t WHERE t.pubname = p.pubname) AS tables FROM pg_publication p ORDER BY 1`,
	"default_acls":   `SELECT pg_get_userbyid(defaclrole) AS role, defaclnamespace::regnamespace::text AS schema, defaclobjtype AS kind, defaclacl::text[] AS acl FROM pg_default_acl ORDER BY 1, 2, 3`,
	"large_objects":  `SELECT count(*) AS count FROM pg_largeobject_metadata`,
}

// optionalLists are queries on tables that not every project has.
var optionalLists = map[string]struct{ table, query string }{
	"auth_migrations":    {"auth.schema_migrations", `SELECT max(version) AS newest, count(*) AS count FROM auth.schema_migrations`},
	"storage_migrations": {"storage.migrations", `SELECT max(id) AS newest, count(*) AS count FROM storage.migrations`},
	"cron_jobs":          {"cron.job", `SELECT jobid, schedule, active, md5(command) AS md5 FROM cron.job ORDER BY 1`},
}

// takeFingerprint runs on the session's connection, which nobody else may use
// meanwhile.
func takeFingerprint(ctx context.Context, s *Session) (*fingerprint, error) {
	s.counting.Store(true)
	defer s.counting.Store(false)
	f := &fingerprint{Tables: map[string]int64{}, Sequences: map[string]*int64{}, Objects: map[string]json.RawMessage{}}
	if err := s.tx.QueryRow(ctx, "SELECT version()").Scan(&f.Server); err != nil {
		return nil, err
	}
	for name, query := range objectLists {
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
	return f, f.count(ctx, s.tx)
}

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
