package dbstate

import "strings"

// user chooses what is not PostgreSQL's own, by the schema n.
const user = ` n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'`

// acl describes privileges with who granted them; no privileges set means the default
// ones of the kind.
func acl(column, kind, owner string) string {
	return `(SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(coalesce(` + column + `, acldefault('` + kind + `', ` + owner + `))) a)`
}

func identity(class, oid, sub string) string {
	return `(SELECT i.type || ' ' || i.identity FROM pg_identify_object('` + class + `'::regclass, ` + oid + `, ` + sub + `) i)`
}

// queries returns what describes a database of a major version. Each query returns one
// text column.
func queries(major int) map[string]string {
	locale, rules, options := "d.daticulocale", "", "a.admin_option"
	if major >= 16 {
		rules = "d.daticurules, "
		options = "concat_ws(' ', a.admin_option, a.inherit_option, a.set_option)"
	}
	if major >= 17 {
		locale = "d.datlocale"
	}
	return map[string]string{
		"database": `SELECT concat_ws(' ', pg_encoding_to_char(d.encoding), d.datlocprovider, ` + locale + `, ` + rules + `d.datcollate, d.datctype, pg_get_userbyid(d.datdba), d.datconnlimit, ` +
			acl("d.datacl", "d", "d.datdba") + `, shobj_description(d.oid, 'pg_database')) FROM pg_database d WHERE d.datname = current_database()`,
		"roles":       `SELECT concat_ws(' ', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil, shobj_description(oid, 'pg_authid')) FROM pg_roles WHERE rolname NOT LIKE 'pg\_%'`,
		"memberships": `SELECT format('%s to %s by %s, ', r.rolname, m.rolname, g.rolname) || ` + options + ` FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member LEFT JOIN pg_roles g ON g.oid = a.grantor`,
		"settings": `SELECT concat_ws(' ', CASE WHEN s.setdatabase <> 0 THEN 'here' END, r.rolname, c) FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) c LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole
			WHERE s.setdatabase = 0 OR d.datname = current_database()`,
		"default_acls": `SELECT concat_ws(' ', pg_get_userbyid(x.defaclrole), n.nspname, x.defaclobjtype, (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(x.defaclacl) a)) FROM pg_default_acl x LEFT JOIN pg_namespace n ON n.oid = x.defaclnamespace`,
		"extensions":   `SELECT concat_ws(' ', e.extname, e.extversion, n.nspname, pg_get_userbyid(e.extowner), (SELECT string_agg(c::regclass::text, ',' ORDER BY c::regclass::text) FROM unnest(e.extconfig) c), e.extcondition::text) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace`,
		"members":      `SELECT e.extname || ': ' || i.type || ' ' || i.identity FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, d.objsubid) i WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'`,
		"owners": strings.Join([]string{
			`SELECT ` + identity("pg_class", "c.oid", "0") + ` || ' of ' || pg_get_userbyid(c.relowner) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE` + user,
			`SELECT ` + identity("pg_proc", "p.oid", "0") + ` || ' of ' || pg_get_userbyid(p.proowner) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE` + user,
			`SELECT ` + identity("pg_type", "t.oid", "0") + ` || ' of ' || pg_get_userbyid(t.typowner) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE` + user,
			`SELECT 'schema ' || n.nspname || ' of ' || pg_get_userbyid(n.nspowner) FROM pg_namespace n WHERE` + user,
			`SELECT 'server ' || srvname || ' of ' || pg_get_userbyid(srvowner) FROM pg_foreign_server`,
			`SELECT 'operator ' || o.oid::regoperator || ' of ' || pg_get_userbyid(o.oprowner) FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE` + user,
			`SELECT 'collation ' || o.oid::regcollation || ' of ' || pg_get_userbyid(o.collowner) FROM pg_collation o JOIN pg_namespace n ON n.oid = o.collnamespace WHERE` + user,
		}, " UNION ALL "),
		"acls": strings.Join([]string{
			`SELECT ` + identity("pg_class", "c.oid", "0") + ` || ' ' || CASE c.relkind WHEN 'S' THEN ` + acl("c.relacl", "s", "c.relowner") + ` ELSE ` + acl("c.relacl", "r", "c.relowner") + ` END FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND` + user,
			`SELECT ` + identity("pg_class", "c.oid", "a.attnum") + ` || ' ' || ` + acl("a.attacl", "c", "c.relowner") + ` FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE a.attacl IS NOT NULL AND` + user,
			`SELECT ` + identity("pg_proc", "p.oid", "0") + ` || ' ' || ` + acl("p.proacl", "f", "p.proowner") + ` FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE` + user,
			`SELECT ` + identity("pg_type", "t.oid", "0") + ` || ' ' || ` + acl("t.typacl", "T", "t.typowner") + ` FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typacl IS NOT NULL AND` + user,
			`SELECT 'schema ' || n.nspname || ' ' || ` + acl("n.nspacl", "n", "n.nspowner") + ` FROM pg_namespace n WHERE` + user,
			`SELECT 'server ' || s.srvname || ' ' || ` + acl("s.srvacl", "S", "s.srvowner") + ` FROM pg_foreign_server s`,
			`SELECT 'large object ' || l.oid || ' ' || ` + acl("l.lomacl", "L", "l.lomowner") + ` FROM pg_largeobject_metadata l`,
		}, " UNION ALL "),
		"functions":      `SELECT concat_ws(' ', p.oid::regprocedure, p.prokind, p.prosecdef, p.provolatile, p.proleakproof, p.proparallel, p.procost, p.prorows, p.proisstrict, p.proconfig::text, md5(p.prosrc)) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE` + user,
		"relations":      `SELECT concat_ws(' ', ` + identity("pg_class", "c.oid", "0") + `, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity, c.relispopulated, c.relreplident, c.reloptions::text) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind <> 'c' AND` + user,
		"indexes":        `SELECT concat_ws(' ', c.oid::regclass, i.indisvalid, i.indisready, i.indisunique, i.indisprimary, i.indisclustered) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE` + user,
		"triggers":       `SELECT concat_ws(' ', t.tgrelid::regclass, t.tgname, t.tgenabled, t.tgfoid::regprocedure) FROM pg_trigger t WHERE NOT t.tgisinternal`,
		"constraints":    `SELECT concat_ws(' ', o.conrelid::regclass, o.conname, o.contype, o.convalidated, o.condeferrable, o.condeferred) FROM pg_constraint o JOIN pg_namespace n ON n.oid = o.connamespace WHERE` + user,
		"event_triggers": `SELECT concat_ws(' ', evtname, evtevent, evtenabled, pg_get_userbyid(evtowner), evtfoid::regprocedure, evttags::text) FROM pg_event_trigger`,
		"sequences":      `SELECT concat_ws(' ', schemaname, sequencename, start_value, increment_by, cache_size, cycle, data_type, 'at', last_value) FROM pg_sequences`,
		"publications":   `SELECT concat_ws(' ', p.pubname, pg_get_userbyid(p.pubowner), p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot, t.schemaname, t.tablename, t.attnames::text, t.rowfilter) FROM pg_publication p LEFT JOIN pg_publication_tables t ON t.pubname = p.pubname`,
		"subscriptions":  `SELECT concat_ws(' ', s.subname, pg_get_userbyid(s.subowner), s.subenabled, s.subslotname, s.subpublications::text) FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database()`,
		"large_objects":  `SELECT format('%s %s %s', l.oid, pg_get_userbyid(l.lomowner), md5(lo_get(l.oid))) FROM pg_largeobject_metadata l`,
		"comments":       `SELECT i.type || ' ' || i.identity || ': ' || d.description FROM pg_description d CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) i WHERE i.identity NOT LIKE 'pg\_%' AND i.schema IS DISTINCT FROM 'pg_catalog' AND i.type NOT IN ('language', 'access method', 'cast')`,
		"statistics":     `SELECT concat_ws(' ', x.stxname, pg_get_userbyid(x.stxowner), x.stxkind::text, pg_get_statisticsobjdef(x.oid)) FROM pg_statistic_ext x`,
		"user_mappings":  `SELECT concat_ws(' ', srvname, usename, (SELECT string_agg(o, ' ' ORDER BY o) FROM unnest(umoptions) o)) FROM pg_user_mappings`,
	}
}

// optional are queries on what not every project has.
var optional = map[string]struct{ relation, query string }{
	"cron_jobs": {"cron.job", `SELECT concat_ws(' ', jobid, jobname, schedule, database, username, active, command) FROM cron.job`},
	"secrets":   {"vault.decrypted_secrets", `SELECT concat_ws(' ', id, name, md5(decrypted_secret)) FROM vault.decrypted_secrets`},
	"queues":    {"pgmq.meta", `SELECT concat_ws(' ', queue_name, is_partitioned, is_unlogged) FROM pgmq.meta`},
}
