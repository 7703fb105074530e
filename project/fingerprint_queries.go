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

// columnACL lists the privileges on columns, as acl does: "grantee:PRIVILEGE (column)".
const columnACL = `(SELECT array_agg(x ORDER BY x) FROM (
 SELECT CASE p.grantee WHEN 0 THEN 'PUBLIC' WHEN c.relowner THEN '@owner' ELSE pg_get_userbyid(p.grantee) END || ':' || p.privilege_type || format(' (%I)', a.attname) || CASE WHEN p.is_grantable THEN '*' ELSE '' END AS x
 FROM pg_attribute a, aclexplode(a.attacl) p WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) q) AS column_acl`

// member returns an expression for the extension that an object belongs to.
func member(class, oid string) string {
	return `(SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid WHERE d.classid = '` + class + `'::regclass AND d.objid = ` + oid +
		` AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e') AS member`
}

// ofExtension returns a lateral join that tells of a relation, as name, to which extension
// it belongs, whether its rows are configuration, of which all or some are dumped, and
// whether it is carried: its other rows are in the archive too, see extensionTables.
func ofExtension(name, oid string) string {
	return strings.NewReplacer("NAME", name, "OID", oid).Replace(`LEFT JOIN LATERAL (SELECT e.extname, cfg.condition IS NOT NULL AS config,
 mc.relkind IN ('r', 'p') AND mc.relpersistence = 'p' AND cfg.condition IS DISTINCT FROM '' AS carried
 FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid JOIN pg_class mc ON mc.oid = d.objid
 LEFT JOIN LATERAL (SELECT e.extcondition[i] AS condition FROM generate_subscripts(e.extconfig, 1) i WHERE e.extconfig[i] = mc.oid) cfg ON true
 WHERE d.classid = 'pg_class'::regclass AND d.objid = OID AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e') NAME ON true`)
}

// ownerOf is a lateral join that gives the table whose column owns a sequence.
const ownerOf = `LEFT JOIN LATERAL (SELECT d.refobjid AS oid FROM pg_depend d WHERE c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
 AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') LIMIT 1) o ON true`

// columnsOf lists the columns of a relation.
const columnsOf = `coalesce((SELECT json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
 'collation', CASE WHEN a.attcollation <> t.typcollation THEN (SELECT format('%I.%I', l.nspname, k.collname) FROM pg_collation k JOIN pg_namespace l ON l.oid = k.collnamespace WHERE k.oid = a.attcollation) END,
 'not_null', a.attnotnull, 'identity', a.attidentity, 'generated', a.attgenerated, 'default', pg_get_expr(f.adbin, f.adrelid)) ORDER BY a.attname)
 FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
 WHERE a.attrelid = c.oid AND c.relkind <> 'S' AND a.attnum > 0 AND NOT a.attisdropped), '[]') AS columns`

// localeOf returns the columns about the locale of a database, which differ by major
// version.
func localeOf(major int) string {
	switch {
	case major >= 17:
		return `CASE d.datlocprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END AS provider, d.datlocale AS locale, d.daticurules AS rules, d.datcollversion AS collation_version`
	case major == 16:
		return `CASE d.datlocprovider WHEN 'i' THEN 'icu' ELSE 'libc' END AS provider, d.daticulocale AS locale, d.daticurules AS rules, d.datcollversion AS collation_version`
	case major == 15:
		return `CASE d.datlocprovider WHEN 'i' THEN 'icu' ELSE 'libc' END AS provider, d.daticulocale AS locale, NULL AS rules, d.datcollversion AS collation_version`
	}
	return `'libc' AS provider, NULL AS locale, NULL AS rules, NULL AS collation_version`
}

// since returns what a server of a major version has had since another one, or what
// stands for it before.
func since(version, major int, then, before string) string {
	if major >= version {
		return then
	}
	return before
}

// objectLists returns the queries on what every database has, for a server of a major
// version.
func objectLists(major int) map[string]string {
	return map[string]string{
		"extensions": `SELECT e.extname AS name, e.extversion AS version, n.nspname AS schema, pg_get_userbyid(e.extowner) AS owner FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY 1`,
		"roles":      `SELECT rolname AS name, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit FROM pg_roles WHERE rolname NOT LIKE 'pg\_%' ORDER BY 1`,
		"memberships": `SELECT r.rolname AS role, m.rolname AS member, bool_or(a.admin_option) AS admin_option` + since(16, major, `, bool_or(a.inherit_option) AS inherit_option, bool_or(a.set_option) AS set_option`, ``) + `
 FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member GROUP BY 1, 2 ORDER BY 1, 2`,
		"settings": `SELECT coalesce(r.rolname, '') AS role, s.setdatabase <> 0 AS here, (SELECT array_agg(split_part(c, '=', 1) ORDER BY c) FROM unnest(s.setconfig) c) AS names,
 md5(array_to_string(ARRAY(SELECT c FROM unnest(s.setconfig) c ORDER BY c), E'\n')) AS definition
 FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = 0 OR d.datname = current_database() ORDER BY 1, 2`,
		"database": `SELECT d.datname AS name, pg_get_userbyid(d.datdba) AS owner, ` + acl("d.datacl", "d", "d.datdba") + `, pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collate, d.datctype AS ctype,
 ` + localeOf(major) + `, (SELECT spcname FROM pg_tablespace t WHERE t.oid = d.dattablespace) AS tablespace, pg_database_size(d.oid) AS bytes FROM pg_database d WHERE d.datname = current_database()`,
		"schemas": `SELECT n.nspname AS name, pg_get_userbyid(n.nspowner) AS owner, ` + acl("n.nspacl", "n", "n.nspowner") + `, ` + member("pg_namespace", "n.oid") + ` FROM pg_namespace n WHERE n.nspname` + outside + ` ORDER BY 1`,
		"relations": `SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind AS kind, pg_get_userbyid(c.relowner) AS owner,
 CASE WHEN c.relkind = 'S' THEN ` + strings.TrimSuffix(acl("c.relacl", "s", "c.relowner"), " AS acl") + ` ELSE ` + strings.TrimSuffix(acl("c.relacl", "r", "c.relowner"), " AS acl") + ` END AS acl, ` + columnACL + `,
 c.relrowsecurity AS rls, c.relforcerowsecurity AS forced_rls, c.relispopulated AS populated, c.relpersistence AS persistence, (SELECT array_agg(x ORDER BY x) FROM unnest(c.reloptions) x) AS options, ` + columnsOf + `,
 CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END AS definition, coalesce(m.extname, om.extname) AS member, coalesce(m.config, false) AS config
 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace ` + ownerOf + ` ` + ofExtension("m", "c.oid") + ` ` + ofExtension("om", "o.oid") + `
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't' AND n.nspname` + outside + ` ORDER BY 1, 2`,
		"types": `SELECT format('%I.%I', n.nspname, t.typname) AS name, t.typtype AS kind, pg_get_userbyid(t.typowner) AS owner, ` + acl("t.typacl", "T", "t.typowner") + `,
 md5(concat_ws(' ', format_type(t.typbasetype, t.typtypmod), t.typnotnull, t.typdefault, (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid))) AS definition, ` + member("pg_type", "t.oid") + `
 FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype IN ('e', 'd', 'r') AND n.nspname` + outside + ` ORDER BY 1`,
		"domain_constraints": `SELECT format('%I.%I', n.nspname, t.typname) AS type, o.conname AS name, o.convalidated AS validated, pg_get_constraintdef(o.oid) AS definition, ` + member("pg_type", "t.oid") + `
 FROM pg_constraint o JOIN pg_type t ON t.oid = o.contypid JOIN pg_namespace n ON n.oid = t.typnamespace WHERE o.contype <> 'n' AND n.nspname` + outside + ` ORDER BY 1, 2`,
		"functions": `SELECT p.oid::regprocedure::text AS name, p.prokind AS kind, pg_get_userbyid(p.proowner) AS owner, ` + acl("p.proacl", "f", "p.proowner") + `,
 md5(concat_ws(' ', p.prosrc, pg_get_function_result(p.oid))) AS definition, ` + since(14, major, `CASE WHEN p.prosqlbody IS NOT NULL THEN pg_get_function_sqlbody(p.oid) END`, `NULL`) + ` AS body,
 json_build_object('security_definer', p.prosecdef, 'strict', p.proisstrict, 'leakproof', p.proleakproof, 'volatility', p.provolatile, 'parallel', p.proparallel, 'cost', p.procost, 'rows', p.prorows,
  'settings', (SELECT array_agg(x ORDER BY x) FROM unnest(p.proconfig) x)) AS attributes, ` + member("pg_proc", "p.oid") + `
 FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname` + outside + ` ORDER BY 1`,
		"constraints": `SELECT o.conrelid::regclass::text AS relation, o.conname AS name, o.contype AS kind, o.convalidated AS validated, pg_get_constraintdef(o.oid) AS definition, m.extname AS member
 FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid JOIN pg_namespace n ON n.oid = o.connamespace LEFT JOIN pg_index i ON i.indexrelid = o.conindid AND i.indrelid = o.conrelid ` + ofExtension("m", "c.oid") + `
 WHERE o.contype <> 'n' AND (i.indexrelid IS NULL OR i.indisready AND (i.indisvalid OR c.relkind = 'p')) AND n.nspname` + outside + ` ORDER BY 1, 2`,
		"indexes": `SELECT format('%I.%I', n.nspname, x.relname) AS name, format('%I.%I', n.nspname, c.relname) AS relation, pg_get_indexdef(x.oid) AS definition, i.indisvalid AS valid, m.extname AS member
 FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = x.relnamespace ` + ofExtension("m", "c.oid") + `
 WHERE i.indisready AND (i.indisvalid OR c.relkind = 'p') AND n.nspname` + outside + ` ORDER BY 1`,
		"policies": `SELECT format('%I.%I', schemaname, tablename) AS relation, policyname AS name, roles::text[] AS roles, cmd, permissive, qual AS using, with_check AS check, m.extname AS member
 FROM pg_policies ` + ofExtension("m", "to_regclass(format('%I.%I', schemaname, tablename))") + ` ORDER BY 1, 2`,
		"triggers": `SELECT t.tgrelid::regclass::text AS relation, t.tgname AS name, t.tgenabled AS enabled, pg_get_triggerdef(t.oid) AS definition, t.tgfoid::regproc::text AS function,
 CASE WHEN t.tgfoid::regproc::text = 'supabase_functions.http_request' THEN convert_from(split_part(encode(t.tgargs, 'escape'), '\000', 1)::bytea, 'UTF8') END AS url, m.extname AS member
 FROM pg_trigger t ` + ofExtension("m", "t.tgrelid") + ` WHERE NOT t.tgisinternal ORDER BY 1, 2`,
		"event_triggers": `SELECT evtname AS name, evtevent AS event, pg_get_userbyid(evtowner) AS owner, evtenabled AS enabled, evtfoid::regproc::text AS function, (SELECT array_agg(x ORDER BY x) FROM unnest(evttags) x) AS tags FROM pg_event_trigger ORDER BY 1`,
		"publications": `SELECT p.pubname AS name, pg_get_userbyid(p.pubowner) AS owner, concat_ws(' ', p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate` + since(13, major, `, p.pubviaroot`, ``) + `) AS definition,
 (SELECT array_agg(x ORDER BY x) FROM (SELECT concat_ws(' ', format('%I.%I', t.schemaname, t.tablename)` + since(15, major, `, t.attnames::text, t.rowfilter`, ``) + `) AS x FROM pg_publication_tables t WHERE t.pubname = p.pubname) q) AS tables FROM pg_publication p ORDER BY 1`,
		"default_acls": `SELECT pg_get_userbyid(x.defaclrole) AS role, coalesce(n.nspname, '') AS schema, x.defaclobjtype AS kind, (SELECT array_agg(p ORDER BY p) FROM (
  SELECT concat(CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END, ':', a.privilege_type, CASE WHEN a.is_grantable THEN '*' END) AS p FROM aclexplode(x.defaclacl) a) q) AS privileges
 FROM pg_default_acl x LEFT JOIN pg_namespace n ON n.oid = x.defaclnamespace ORDER BY 1, 2, 3`,
		"collations": `SELECT format('%I.%I', n.nspname, k.collname) AS name, CASE k.collprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' WHEN 'd' THEN 'default' ELSE 'libc' END AS provider, k.collversion AS version, ` + member("pg_collation", "k.oid") + `
 FROM pg_collation k JOIN pg_namespace n ON n.oid = k.collnamespace WHERE n.nspname` + outside + ` ORDER BY 1`,
		"statistics": `SELECT format('%I.%I', n.nspname, x.stxname) AS name, pg_get_statisticsobjdef(x.oid) AS definition FROM pg_statistic_ext x JOIN pg_namespace n ON n.oid = x.stxnamespace ` + ofExtension("m", "x.stxrelid") + `
 WHERE m.extname IS NULL AND n.nspname` + outside + ` ORDER BY 1`,
		"rules": `SELECT format('%I.%I', n.nspname, c.relname) AS relation, r.rulename AS name, pg_get_ruledef(r.oid) AS definition FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace ` + ofExtension("m", "c.oid") + `
 WHERE r.rulename <> '_RETURN' AND m.extname IS NULL AND n.nspname` + outside + ` ORDER BY 1, 2`,
		"servers":       `SELECT s.srvname AS name, pg_get_userbyid(s.srvowner) AS owner FROM pg_foreign_server s ORDER BY 1`,
		"large_objects": `SELECT 'all' AS name, count(*) AS count FROM pg_largeobject_metadata`,
		"slots":         `SELECT slot_name AS name, plugin, active FROM pg_replication_slots WHERE database = current_database() ORDER BY 1`,
	}
}

// superuserLists are queries that only a superuser may make.
var superuserLists = map[string]string{
	"subscriptions": `SELECT s.subname AS name, pg_get_userbyid(s.subowner) AS owner, s.subenabled AS enabled, s.subslotname AS slot, (SELECT array_agg(x ORDER BY x) FROM unnest(s.subpublications) x) AS publications
 FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database() ORDER BY 1`,
}

// optionalLists are queries on tables that not every project has.
var optionalLists = map[string]struct{ table, query string }{
	"auth_migrations":    {"auth.schema_migrations", `SELECT 'newest' AS name, max(version) AS version FROM auth.schema_migrations`},
	"storage_migrations": {"storage.migrations", `SELECT 'newest' AS name, max(id)::text AS version FROM storage.migrations`},
	"cron_jobs": {"cron.job", `SELECT j.jobid::text AS name, j.schedule, j.active, md5(j.command) AS definition, to_jsonb(j) ->> 'jobname' AS jobname, to_jsonb(j) ->> 'database' AS database, to_jsonb(j) ->> 'username' AS username
 FROM cron.job j ORDER BY 1`},
}

// sequenceStates lists the sequences whose state is in the archive.
var sequenceStates = `SELECT n.nspname, c.relname, format('%I.%I', n.nspname, c.relname), CASE WHEN has_sequence_privilege(c.oid, 'SELECT,USAGE') THEN pg_sequence_last_value(c.oid::regclass) END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace ` + ownerOf + ` ` + ofExtension("m", "c.oid") + ` ` + ofExtension("om", "o.oid") + `
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND (m.config OR om.carried OR m.extname IS NULL AND om.extname IS NULL) AND n.nspname` + outside
