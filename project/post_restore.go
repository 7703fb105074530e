package project

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// postRestore restores what pg_restore omits: the effects that event triggers had on
// extensions when they were made, attributes of their functions that were changed,
// and privileges that were granted on their objects.
func (b *databaseBuild) postRestore(ctx context.Context, conn *pgx.Conn) error {
	if err := b.recreatePgGraphQL(ctx, conn); err != nil {
		return err
	}
	return restorer{b.pair.prints, b.a.major, b.extensions}.members(ctx, conn)
}

// recreatePgGraphQL makes pg_graphql anew: an event trigger adds to it what its
// clients call, and grants it to them. No other event trigger fires.
func (b *databaseBuild) recreatePgGraphQL(ctx context.Context, conn *pgx.Conn) error {
	i := slices.IndexFunc(b.extensions, func(e *extension) bool { return e.name == "pg_graphql" && e.made != "" })
	if i < 0 {
		return nil
	}
	var made bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'issue_pg_graphql_access')").Scan(&made); err != nil || !made {
		return wrapSQL(err)
	}
	owner, err := b.extensions[i].ownerOf(ctx, conn)
	if err != nil {
		return err
	}
	err = quietly(ctx, conn, func(tx pgx.Tx) error {
		// What is granted now becomes the extension's own, as it was at the backup.
		if err := (restorer{b.pair.prints, b.a.major, b.extensions}).acls(ctx, tx); err != nil {
			return err
		}
		fire := "SET LOCAL session_replication_role = origin;"
		if b.a.major >= 17 {
			fire += "SET LOCAL event_triggers = on;"
		}
		return execAll(ctx, conn, fire+`UPDATE pg_event_trigger SET evtenabled = 'O' WHERE evtname = 'issue_pg_graphql_access';
DROP EXTENSION pg_graphql; `+b.extensions[i].createAs(owner))
	})
	if err == nil {
		return nil
	}
	if isCode(err, "2BP01") { // dependent_objects_still_exist: it stays as it is, and the comparison says what it lacks
		return nil
	}
	if refusal := refused(err, "The extension pg_graphql could not be made anew"); MayRetry(refusal) {
		return refusal
	}
	b.d.t.warn(Database, "extension_kept", "pg_graphql", "The extension pg_graphql could not be made anew: "+serverSaid(err))
	return nil
}

// restorer gives objects what they had at the backup.
type restorer struct {
	prints     *fingerprint
	major      int // of the server
	extensions []*extension
}

// members restores attributes and privileges of what belongs to extensions, and the
// privileges of all else that differ.
func (r restorer) members(ctx context.Context, conn *pgx.Conn) error {
	err := quietly(ctx, conn, func(tx pgx.Tx) error {
		return errors.Join(r.attributes(ctx, tx), r.rowSecurity(ctx, tx), r.additions(ctx, tx), r.acls(ctx, tx))
	})
	return wrapSQL(err)
}

// now returns a list of objects as they are.
func (r restorer) now(ctx context.Context, tx pgx.Tx, c comparison) (want, got map[string]object, err error) {
	var raw json.RawMessage
	if err := tx.QueryRow(ctx, "SELECT coalesce(json_agg(q), '[]') FROM ("+objectLists(r.major)[c.list]+") q").Scan(&raw); err != nil {
		return nil, nil, err
	}
	if got, err = c.objects(&fingerprint{Objects: map[string]json.RawMessage{c.list: raw}}); err != nil {
		return nil, nil, err
	}
	want, err = c.objects(r.prints)
	return want, got, err
}

// attributes gives the functions of extensions the attributes that they had: upstream
// and operators change some behind the scripts of extensions, and no dump says so. It
// writes the catalog itself, for ALTER FUNCTION takes no name that is ambiguous. What
// another version has made keeps what its code relies on.
func (r restorer) attributes(ctx context.Context, tx pgx.Tx) error {
	want, got, err := r.now(ctx, tx, comparisonOf("functions"))
	if err != nil {
		return err
	}
	for key, o := range want {
		there, ok := got[key]
		a, have := o["attributes"].(map[string]any)
		if !ok || !have || o.text("member") == "" || fmt.Sprint(o["attributes"]) == fmt.Sprint(there["attributes"]) {
			continue
		}
		settings := []string{}
		if list, ok := a["settings"].([]any); ok {
			for _, s := range list {
				settings = append(settings, fmt.Sprint(s))
			}
		}
		if _, err := tx.Exec(ctx, "UPDATE pg_proc SET prosecdef = $2, proconfig = NULLIF($3::text[], '{}') WHERE oid = $1::regprocedure", o.text("name"), a["security_definer"] == true, settings); err != nil {
			return err
		}
		if !r.sameVersion(o.text("member")) {
			continue
		}
		if _, err := tx.Exec(ctx, `UPDATE pg_proc SET proisstrict = $2, proleakproof = $3, provolatile = $4::"char", proparallel = $5::"char", procost = $6::real, prorows = $7::real WHERE oid = $1::regprocedure`,
			o.text("name"), a["strict"] == true, a["leakproof"] == true, fmt.Sprint(a["volatility"]), fmt.Sprint(a["parallel"]), a["cost"], a["rows"]); err != nil {
			return err
		}
	}
	return nil
}

// rowSecurity switches row-level security on again for tables of extensions.
func (r restorer) rowSecurity(ctx context.Context, tx pgx.Tx) error {
	want, got, err := r.now(ctx, tx, comparisonOf("relations"))
	if err != nil {
		return err
	}
	for key, o := range want {
		there, ok := got[key]
		if !ok || o.text("member") == "" {
			continue
		}
		for field, what := range map[string]string{"rls": "ENABLE", "forced_rls": "FORCE"} {
			if o.is(field) && !there.is(field) {
				if err := tryIn(ctx, tx, "ALTER TABLE "+o.text("name")+" "+what+" ROW LEVEL SECURITY"); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// additions makes what was added to the tables of extensions and that no dump holds:
// indexes, policies, triggers. Another version of an extension has its own.
func (r restorer) additions(ctx context.Context, tx pgx.Tx) error {
	for _, list := range []string{"indexes", "policies", "triggers"} {
		want, got, err := r.now(ctx, tx, comparisonOf(list))
		if err != nil {
			return err
		}
		for key, o := range want {
			if _, ok := got[key]; ok || o.text("member") == "" || !r.sameVersion(o.text("member")) {
				continue
			}
			if err := tryIn(ctx, tx, creation(list, o)); err != nil {
				return err
			}
			if state, ok := triggerStates[o.text("enabled")]; ok && list == "triggers" {
				if err := tryIn(ctx, tx, "ALTER TABLE "+o.text("relation")+" "+state+" TRIGGER "+quote(o.text("name"))); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// triggerStates are those of which CREATE TRIGGER knows nothing.
var triggerStates = map[string]string{"D": "DISABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}

// creation returns the statement that makes an index, a policy or a trigger.
func creation(list string, o object) string {
	if list != "policies" {
		return o.text("definition")
	}
	s := fmt.Sprintf("CREATE POLICY %s ON %s AS %s FOR %s TO ", quote(o.text("name")), o.text("relation"), o.text("permissive"), o.text("cmd"))
	roles, _ := o["roles"].([]any)
	names := make([]string, len(roles))
	for i, x := range roles {
		names[i] = fmt.Sprint(x)
		if names[i] != "public" { // which means everybody
			names[i] = quote(names[i])
		}
	}
	s += strings.Join(names, ", ")
	if using := o.text("using"); using != "" {
		s += " USING (" + using + ")"
	}
	if check := o.text("check"); check != "" {
		s += " WITH CHECK (" + check + ")"
	}
	return s
}

func (r restorer) sameVersion(name string) bool {
	return slices.ContainsFunc(r.extensions, func(e *extension) bool { return e.name == name && e.made == e.version })
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

// acls gives objects the privileges that they had, where they differ: those that were
// granted on objects of extensions are in no dump.
func (r restorer) acls(ctx context.Context, tx pgx.Tx) error {
	for _, c := range comparisons {
		if !slices.Contains([]string{"schemas", "relations", "functions", "types"}, c.list) {
			continue
		}
		want, got, err := r.now(ctx, tx, c)
		if err != nil {
			return err
		}
		for key, o := range want {
			there, ok := got[key]
			if !ok {
				continue
			}
			if r.prints.Major < 17 { // MAINTAIN came then, and an owner has it
				there, o = withoutMaintain(there), withoutMaintain(o)
			}
			if err := grantAll(ctx, tx, kindOf(c.list, o)+" "+nameOf(c.list, o), there, o); err != nil {
				return err
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

// withoutMaintain leaves MAINTAIN out of the privileges on an object.
func withoutMaintain(o object) object {
	out := maps.Clone(o)
	list, _ := o["acl"].([]any)
	out["acl"] = slices.DeleteFunc(slices.Clone(list), func(x any) bool { return strings.HasSuffix(strings.TrimSuffix(fmt.Sprint(x), "*"), ":MAINTAIN") })
	return out
}

// grantAll makes the privileges on an object what they were. What the server refuses
// shows in the comparison; the error is of the connection.
func grantAll(ctx context.Context, tx pgx.Tx, on string, got, want object) error {
	have, wanted := privileges(got), privileges(want)
	if _, known := want["column_acl"]; !known { // of an archive that does not say
		have = slices.DeleteFunc(have, func(p privilege) bool { return strings.Contains(p.what, "(") })
	}
	var statements []string
	for _, p := range have {
		if !slices.Contains(wanted, p) {
			statements = append(statements, fmt.Sprintf("REVOKE %s ON %s FROM %s CASCADE", p.what, on, p.grantee(got)))
		}
	}
	for _, p := range wanted {
		if !slices.Contains(have, p) {
			option := ""
			if p.grantable {
				option = " WITH GRANT OPTION"
			}
			statements = append(statements, fmt.Sprintf("GRANT %s ON %s TO %s%s", p.what, on, p.grantee(got), option))
		}
	}
	for _, s := range statements {
		if err := tryIn(ctx, tx, s); err != nil {
			return err
		}
	}
	return nil
}

// tryIn runs a statement that the server may refuse, which the comparison shows. The
// error is of the connection.
func tryIn(ctx context.Context, tx pgx.Tx, statement string) error {
	inner, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	if _, err = inner.Exec(ctx, statement); err == nil {
		return inner.Commit(ctx)
	}
	return inner.Rollback(ctx)
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
	whole, _ := o["acl"].([]any)
	columns, _ := o["column_acl"].([]any)
	for _, x := range slices.Concat(whole, columns) {
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
