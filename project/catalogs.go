package project

import "strings"

// Queries about the objects of a database. Each returns rows that become one JSON
// list of a fingerprint. They run with an empty search_path, so that names in
// definitions are always whole. Roles come without their passwords, settings
// without their values.

// outside chooses what is not PostgreSQL's own.
const outside = ` NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'`

// acl returns an expression for what may be done with an object, as a sorted list
// of "grantee:PRIVILEGE", with a "*" behind it if it may be passed on. Who granted
// it does not matter, and the owner is called "@owner", since the objects of
// extensions belong to whoever restores them.
func acl(column, kind, owner string) string {
	return strings.NewReplacer("COLUMN", column, "KIND", kind, "OWNER", owner).Replace(`(SELECT array_agg(x ORDER BY x) FROM (
 SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' WHEN OWNER THEN '@owner' ELSE pg_get_userbyid(a.grantee) END || ':' || a.privilege_type || CASE WHEN a.is_grantable THEN '*' ELSE '' END AS x
 FROM aclexplode(coalesce(COLUMN, acldefault('KIND', OWNER))) a) q) AS acl`)
}

// member returns an expression for the extension that an object belongs to.
func member(class, oid string) string {
	return `(SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid WHERE d.classid = '` + class + `'::regclass AND d.objid = ` + oid +
		` AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e') AS member`
}

// columnsOf is the sum of the columns of a relation: names, types, defaults.
const columnsOf = `(SELECT md5(string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid)), ',' ORDER BY a.attname))
 FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns`

// objectLists returns the queries on what every database has.
func objectLists() map[string]string {
	return map[string]string{
		"extensions":  `SELECT e.extname AS name, e.extversion AS version, n.nspname AS schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY 1`,
		"roles":       `SELECT rolname AS name, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit FROM pg_roles WHERE rolname NOT LIKE 'pg\_%' ORDER BY 1`,
		"memberships": `SELECT DISTINCT r.rolname AS role, m.rolname AS member FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member ORDER BY 1, 2`,
		"settings": `SELECT coalesce(r.rolname, '') AS role, s.setdatabase <> 0 AS here, (SELECT array_agg(split_part(c, '=', 1) ORDER BY c) FROM unnest(s.setconfig) c) AS names,
 md5(array_to_string(ARRAY(SELECT c FROM unnest(s.setconfig) c ORDER BY c), E'\n')) AS definition
 FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = 0 OR d.datname = current_database() ORDER BY 1, 2`,
		"database": `SELECT d.datname AS name, pg_get_userbyid(d.datdba) AS owner, ` + acl("d.datacl", "d", "d.datdba") + `, pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collate, d.datctype AS ctype,
 pg_database_size(d.oid) AS bytes FROM pg_database d WHERE d.datname = current_database()`,
		"schemas": `SELECT n.nspname AS name, pg_get_userbyid(n.nspowner) AS owner, ` + acl("n.nspacl", "n", "n.nspowner") + `, ` + member("pg_namespace", "n.oid") + ` FROM pg_namespace n WHERE n.nspname` + outside + ` ORDER BY 1`,
		"relations": `SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind AS kind, pg_get_userbyid(c.relowner) AS owner,
 CASE WHEN c.relkind = 'S' THEN ` + strings.TrimSuffix(acl("c.relacl", "s", "c.relowner"), " AS acl") + ` ELSE ` + strings.TrimSuffix(acl("c.relacl", "r", "c.relowner"), " AS acl") + ` END AS acl,
 c.relrowsecurity AS rls, c.relforcerowsecurity AS forced_rls, c.relispopulated AS populated, c.relpersistence AS persistence, ` + columnsOf + `,
 CASE WHEN c.relkind IN ('v', 'm') THEN md5(pg_get_viewdef(c.oid)) END AS definition, ` + member("pg_class", "c.oid") + `
 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't' AND n.nspname` + outside + ` ORDER BY 1, 2`,
		"types": `SELECT format('%I.%I', n.nspname, t.typname) AS name, t.typtype AS kind, pg_get_userbyid(t.typowner) AS owner, ` + acl("t.typacl", "T", "t.typowner") + `,
 md5(concat_ws(' ', format_type(t.typbasetype, t.typtypmod), t.typnotnull, t.typdefault, (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid))) AS definition, ` + member("pg_type", "t.oid") + `
 FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype IN ('e', 'd', 'r') AND n.nspname` + outside + ` ORDER BY 1`,
		"functions": `SELECT p.oid::regprocedure::text AS name, p.prokind AS kind, pg_get_userbyid(p.proowner) AS owner, ` + acl("p.proacl", "f", "p.proowner") + `,
 md5(concat_ws(' ', p.prosrc, p.prosecdef, p.provolatile, p.proisstrict, array_to_string(p.proconfig, ','), pg_get_function_result(p.oid))) AS definition, ` + member("pg_proc", "p.oid") + `
 FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname` + outside + ` ORDER BY 1`,
		"constraints": `SELECT o.conrelid::regclass::text AS relation, o.conname AS name, o.contype AS kind, o.convalidated AS validated, md5(pg_get_constraintdef(o.oid)) AS definition
 FROM pg_constraint o JOIN pg_namespace n ON n.oid = o.connamespace WHERE o.conrelid <> 0 AND o.contype <> 'n' AND n.nspname` + outside + ` ORDER BY 1, 2`,
		"indexes": `SELECT format('%I.%I', n.nspname, c.relname) AS name, md5(pg_get_indexdef(c.oid)) AS definition, i.indisvalid AS valid
 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname` + outside + ` ORDER BY 1`,
		"policies": `SELECT format('%I.%I', schemaname, tablename) AS relation, policyname AS name, roles::text[] AS roles, cmd, permissive, md5(concat_ws(' | ', qual, with_check)) AS definition FROM pg_policies ORDER BY 1, 2`,
		"triggers": `SELECT tgrelid::regclass::text AS relation, tgname AS name, tgenabled AS enabled, md5(pg_get_triggerdef(oid)) AS definition, tgfoid::regproc::text AS function,
 CASE WHEN tgfoid::regproc::text = 'supabase_functions.http_request' THEN convert_from(split_part(encode(tgargs, 'escape'), '\000', 1)::bytea, 'UTF8') END AS url
 FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2`,
		"event_triggers": `SELECT evtname AS name, evtevent AS event, pg_get_userbyid(evtowner) AS owner, evtenabled AS enabled, evtfoid::regproc::text AS function FROM pg_event_trigger ORDER BY 1`,
		"publications": `SELECT p.pubname AS name, pg_get_userbyid(p.pubowner) AS owner, concat_ws(' ', p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot) AS definition,
 (SELECT array_agg(concat_ws(' ', format('%I.%I', t.schemaname, t.tablename), t.attnames::text, t.rowfilter) ORDER BY 1) FROM pg_publication_tables t WHERE t.pubname = p.pubname) AS tables FROM pg_publication p ORDER BY 1`,
		"default_acls": `SELECT pg_get_userbyid(x.defaclrole) AS role, coalesce(n.nspname, '') AS schema, x.defaclobjtype AS kind,
 (SELECT array_agg(concat(CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END, ':', a.privilege_type, CASE WHEN a.is_grantable THEN '*' END) ORDER BY 1) FROM aclexplode(x.defaclacl) a) AS privileges
 FROM pg_default_acl x LEFT JOIN pg_namespace n ON n.oid = x.defaclnamespace ORDER BY 1, 2, 3`,
		"servers":       `SELECT s.srvname AS name, pg_get_userbyid(s.srvowner) AS owner FROM pg_foreign_server s ORDER BY 1`,
		"large_objects": `SELECT 'all' AS name, count(*) AS count FROM pg_largeobject_metadata`,
	}
}

// optionalLists are queries on tables that not every project has.
var optionalLists = map[string]struct{ table, query string }{
	"auth_migrations":    {"auth.schema_migrations", `SELECT 'newest' AS name, max(version) AS version FROM auth.schema_migrations`},
	"storage_migrations": {"storage.migrations", `SELECT 'newest' AS name, max(id)::text AS version FROM storage.migrations`},
	"cron_jobs":          {"cron.job", `SELECT jobid::text AS name, schedule, active, md5(command) AS definition FROM cron.job ORDER BY 1`},
	"vault_secrets":      {"vault.secrets", `SELECT coalesce(name, id::text) AS name FROM vault.secrets ORDER BY 1`},
}
