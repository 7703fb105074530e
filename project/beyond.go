package project

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/archive"
)

// beyondTheDump brings back what pg_restore alone does not: the settings of the
// database, and what event triggers had done when extensions were made.
func (b *databaseBuild) beyondTheDump(ctx context.Context, c client, conn *pgx.Conn) error {
	if err := b.settings(ctx, c); err != nil {
		return err
	}
	if err := b.cycle(ctx, conn); err != nil {
		return err
	}
	return b.acls(ctx, conn)
}

// settings gives the new database what was set for the old one as a whole.
func (b *databaseBuild) settings(ctx context.Context, c client) error {
	var list strings.Builder
	for _, e := range b.toc {
		if e.kind == "DATABASE" || e.kind == "DATABASE PROPERTIES" || strings.HasPrefix(e.desc, "ACL - DATABASE ") || strings.HasPrefix(e.desc, "COMMENT - DATABASE ") {
			list.WriteString(e.id + "; 0 0\n")
		}
	}
	if list.Len() == 0 {
		return nil
	}
	file := filepath.Join(b.d.t.Scratch, "settings")
	if err := os.WriteFile(file, []byte(list.String()), 0o600); err != nil {
		return err
	}
	script, err := c.output(ctx, "pg_restore", "--create", "--file=-", "--use-list="+file, b.dump)
	if err != nil {
		return err
	}
	for _, s := range settingsOf(script, b.pair.fresh) {
		if _, err := b.a.conn.Exec(ctx, s); err != nil {
			b.d.t.warn(Database, "setting_lost", "", "A setting of the database could not be made again: "+refused(err, strings.Join(words(s, 2), " ")).Error())
		}
	}
	return nil
}

// cycle makes pg_graphql anew: an event trigger, which pg_restore makes last, adds
// to it what its clients call.
func (b *databaseBuild) cycle(ctx context.Context, conn *pgx.Conn) error {
	var both bool
	err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_graphql') AND EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'issue_pg_graphql_access')").Scan(&both)
	if err != nil || !both {
		return wrapSQL(err)
	}
	fire := ""
	if b.a.major >= 17 {
		fire = "SET LOCAL event_triggers = on; "
	}
	_, err = conn.PgConn().Exec(ctx, "BEGIN; "+fire+"SET LOCAL session_replication_role = origin; DROP EXTENSION pg_graphql; CREATE EXTENSION pg_graphql; COMMIT").ReadAll()
	if err != nil {
		b.d.t.warn(Database, "extension_kept", "pg_graphql", "The extension pg_graphql could not be made anew: "+refused(err, "DROP and CREATE EXTENSION").Error())
		_, err = conn.Exec(ctx, "ROLLBACK")
	}
	return wrapSQL(err)
}

// kindOf says what GRANT calls an object of a list.
func kindOf(list string, o object) string {
	switch {
	case list == "schemas":
		return "SCHEMA"
	case list == "types":
		return "TYPE"
	case list == "functions":
		return "ROUTINE"
	case o.text("kind") == "S":
		return "SEQUENCE"
	}
	return "TABLE"
}

// acls gives objects the privileges that they had, where they differ: those that
// were granted on objects of extensions are in no dump.
func (b *databaseBuild) acls(ctx context.Context, conn *pgx.Conn) error {
	for _, c := range comparisons {
		if !slices.Contains([]string{"schemas", "relations", "functions", "types"}, c.list) {
			continue
		}
		var raw json.RawMessage
		if err := conn.QueryRow(ctx, "SELECT coalesce(json_agg(q), '[]') FROM ("+objectLists(b.a.major)[c.list]+") q").Scan(&raw); err != nil {
			return wrapSQL(err)
		}
		got, err := c.objects(&fingerprint{Objects: map[string]json.RawMessage{c.list: raw}})
		if err != nil {
			return err
		}
		want, err := c.objects(b.pair.prints)
		if err != nil {
			return err
		}
		for key, o := range want {
			if there, ok := got[key]; ok {
				b.grant(ctx, conn, kindOf(c.list, o)+" "+nameOf(c.list, o), there, o)
			}
		}
	}
	return nil
}

// nameOf returns the name of an object as SQL wants it.
func nameOf(list string, o object) string {
	if list == "schemas" {
		return quote(o.text("name"))
	}
	return o.text("name")
}

// grant makes the privileges on an object what they were. What fails shows in the
// comparison.
func (b *databaseBuild) grant(ctx context.Context, conn *pgx.Conn, on string, got, want object) {
	have, wanted := privileges(got), privileges(want)
	for _, p := range have {
		if !slices.Contains(wanted, p) {
			_, _ = conn.Exec(ctx, fmt.Sprintf("REVOKE %s ON %s FROM %s CASCADE", p.what, on, p.grantee(got)))
		}
	}
	for _, p := range wanted {
		if !slices.Contains(have, p) {
			option := ""
			if p.grantable {
				option = " WITH GRANT OPTION"
			}
			_, _ = conn.Exec(ctx, fmt.Sprintf("GRANT %s ON %s TO %s%s", p.what, on, p.grantee(got), option))
		}
	}
}

type privilege struct {
	who, what string
	grantable bool
}

func (p privilege) grantee(o object) string {
	switch p.who {
	case "PUBLIC":
		return "PUBLIC"
	case "@owner":
		return quote(o.text("owner"))
	}
	return quote(p.who)
}

func privileges(o object) (out []privilege) {
	list, _ := o["acl"].([]any)
	for _, x := range list {
		s, _ := x.(string)
		i := strings.LastIndexByte(s, ':')
		if i < 0 {
			continue
		}
		what := strings.TrimSuffix(s[i+1:], "*")
		out = append(out, privilege{s[:i], what, what != s[i+1:]})
	}
	return out
}

// proved are the kinds of entries of which a comparison shows whether they are
// there.
var proved = []string{
	"TABLE", "TABLE DATA", "TABLE ATTACH", "VIEW", "MATERIALIZED VIEW", "MATERIALIZED VIEW DATA", "FOREIGN TABLE", "SEQUENCE", "SEQUENCE SET", "DEFAULT", "FUNCTION", "PROCEDURE", "AGGREGATE", "ACL", "DEFAULT ACL",
	"INDEX", "CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT", "TRIGGER", "EVENT TRIGGER", "POLICY", "ROW SECURITY", "SCHEMA", "TYPE", "DOMAIN", "EXTENSION", "PUBLICATION", "PUBLICATION TABLE", "SERVER", "BLOB", "BLOBS", "BLOB METADATA",
}

// prove compares the new database with the fingerprint.
func (b *databaseBuild) prove(ctx context.Context, failed []failure) error {
	s, err := Open(ctx, &Server{URL: func(context.Context) (string, error) { return b.a.on(b.pair.fresh), nil }, Tools: b.a.tools})
	if err != nil {
		return err
	}
	defer s.Close() //nolint:errcheck // it only read
	got, err := takeFingerprint(ctx, s)
	if err != nil {
		return refused(err, "The restored database could not be compared with the backup")
	}
	differences, err := b.pair.prints.compare(got)
	if err != nil {
		return err
	}
	if b.d.t.Foreign { // the server's roles belong to another project
		differences = slices.DeleteFunc(differences, func(d difference) bool { return strings.HasPrefix(d.code, "roles_") })
	}
	desc := map[string]string{}
	for _, e := range b.toc {
		desc[e.id] = e.desc
		for _, f := range failed {
			if f.id == e.id && !slices.Contains(proved, e.kind) {
				differences = append(differences, difference{notice, "entry_lost", e.desc, fmt.Sprintf("%s could not be restored: %s", e.desc, f.message)})
			}
		}
	}
	return b.judge(differences, failed, desc)
}

// judge makes an error of what must not be, and warnings of the rest.
func (b *databaseBuild) judge(differences []difference, failed []failure, desc map[string]string) error {
	var bad []string
	for _, d := range differences {
		if d.gravity == exposed || d.gravity > notice && !b.d.t.Force {
			bad = append(bad, d.sentence)
			continue
		}
		b.d.t.Warn(archive.Warning{Part: Database, Code: d.code, Name: d.name, Sentence: d.sentence})
	}
	if len(bad) == 0 {
		return nil
	}
	const few = 5
	said := strings.Join(bad[:min(few, len(bad))], " ")
	if len(bad) > few {
		said += fmt.Sprintf(" And %d more.", len(bad)-few)
	}
	if len(failed) > 0 {
		said += fmt.Sprintf(" The server said of %s: %s.", desc[failed[0].id], strings.TrimSuffix(failed[0].message, "."))
	}
	return fail(nil, "The restored database %s is not what was backed up, so nothing was changed. %s", b.pair.source, said)
}
