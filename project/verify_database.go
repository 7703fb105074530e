package project

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/archive"
)

// namedDifferences is how many differences an error names.
const namedDifferences = 5

// verify compares the new database with the fingerprint. conn may be used for
// questions that change nothing.
func (b *databaseBuild) verify(ctx context.Context, conn *pgx.Conn, late []string) error {
	got, err := b.fingerprintOf(ctx, b.pair.fresh)
	if err != nil {
		return err
	}
	differences, err := b.differences(ctx, conn, got)
	if err != nil {
		return err
	}
	differences = append(differences, b.lost...)
	differences = slices.DeleteFunc(differences, func(d difference) bool {
		return b.waits(d) || d.list == "settings" && slices.ContainsFunc(late, func(s string) bool { return contains(d.of["names"], settingName(s)) })
	})
	return b.judge(b.explain(differences))
}

// fingerprintOf takes the fingerprint of a database of the server.
func (b *databaseBuild) fingerprintOf(ctx context.Context, name string) (*fingerprint, error) {
	s, err := Open(ctx, &Server{URL: func(context.Context) (string, error) { return b.a.on(name), nil }, Tools: b.a.tools})
	if err != nil {
		return nil, err
	}
	defer s.Close() //nolint:errcheck // it only read
	got, err := takeFingerprint(ctx, s)
	return got, refused(err, "The restored database could not be compared with the backup")
}

// differences compares a restored database with the backup. Definitions that mean
// the same are none.
func (b *databaseBuild) differences(ctx context.Context, conn *pgx.Conn, got *fingerprint) ([]difference, error) {
	all, err := b.pair.prints.compare(got)
	if err != nil {
		return nil, err
	}
	now := map[string]map[string]object{}
	keyComes := b.d.keyComes(ctx)
	var out []difference
	for _, d := range all {
		if b.d.t.Foreign && (d.list == "roles" || d.list == "settings" || ofRealtime(d)) { // they belong to this project
			continue
		}
		if d.list == "extensions" && d.field == "version" { // the check has said so
			continue
		}
		if d.field == "decrypts" && b.otherVault() {
			d.gravity, d.sentence = data, fmt.Sprintf("The vault secret %s cannot be decrypted: the extension supabase_vault is at another version than at the backup.", d.name)
		} else if d.field == "decrypts" && (b.d.t.Foreign || keyComes) { // which is said of each, or looked at when the key is there
			continue
		}
		if slices.Contains(definitions, d.field) && d.gravity == notice {
			c := comparisonOf(d.list)
			if now[d.list] == nil {
				if now[d.list], err = c.objects(got); err != nil {
					return nil, err
				}
			}
			if sameMeaning(ctx, conn, d, now[d.list][c.keyOf(d.of)]) {
				continue
			}
		}
		if d.field == "populated" && slices.Contains(b.unfilled, strings.ReplaceAll(d.name, `"`, "")) { // which was said
			continue
		}
		out = append(out, d)
	}
	return out, nil
}

// otherVault reports whether the vault was made at another version than that of the
// backup, of which the check has told.
func (b *databaseBuild) otherVault() bool {
	return slices.ContainsFunc(b.extensions, func(e *extension) bool { return e.name == "supabase_vault" && e.made != e.version })
}

func contains(list any, value string) bool {
	all, _ := list.([]any)
	return slices.ContainsFunc(all, func(x any) bool { return fmt.Sprint(x) == value })
}

// waits reports whether what a difference is about is deferred.
func (b *databaseBuild) waits(d difference) bool {
	for _, e := range b.extensions {
		if e.bound && (d.of.text("member") == e.name || d.list == "extensions" && d.name == e.name || d.list == "cron_jobs" && e.name == "pg_cron" || b.liesIn(d, e)) {
			return true
		}
	}
	return slices.ContainsFunc(b.toc, func(e tocEntry) bool { return b.deferred[e.id] && e.isAbout(d) })
}

// liesIn reports whether a difference is of what lies on a table or in a schema that
// belongs to an extension.
func (b *databaseBuild) liesIn(d difference, x *extension) bool {
	members, err := b.pair.prints.members(x.name)
	if err != nil {
		return false
	}
	on := d.of.text("relation")
	return slices.ContainsFunc(members["relations"], func(o object) bool { return on != "" && o.text("name") == on }) ||
		slices.ContainsFunc(members["schemas"], func(o object) bool { return d.of.text("schema") == o.text("name") })
}

// isAbout reports whether an entry makes or fills what a difference is about.
func (e tocEntry) isAbout(d difference) bool {
	kind, ok := entryKinds[d.list]
	if d.of == nil && d.list == "relations" { // rows, or a sequence
		return slices.Contains([]string{"TABLE DATA", "SEQUENCE SET"}, e.kind) && e.belongsTo(d.name)
	}
	if !ok || !slices.Contains(kind, e.kind) && e.kind != "ACL" {
		return false
	}
	name := d.of.text("name")
	switch d.list {
	case "constraints", "policies", "triggers", "rules":
		return plain(e.schema+"."+e.tag) == plain(d.of.text("relation")+" "+name)
	case "domain_constraints": // those that were valid at once are made with their domain
		return plain(e.schema+"."+e.tag) == plain(d.of.text("type")+" "+name) || e.kind == "DOMAIN" && e.belongsTo(d.of.text("type"))
	case "extensions", "schemas", "event_triggers", "publications", "servers", "subscriptions":
		return plain(e.tag) == plain(name) || strings.HasPrefix(e.kind, "PUBLICATION TABLE") && strings.HasPrefix(plain(e.tag), plain(name)+" ") ||
			slices.ContainsFunc(kind, func(k string) bool {
				return plain(e.tag) == plain(k+" "+name) || plain(e.tag) == "FOREIGN "+plain(k+" "+name)
			})
	}
	return e.belongsTo(name)
}

// entryKinds are the kinds of the entries that make what a list lists.
var entryKinds = map[string][]string{
	"extensions": {"EXTENSION"}, "schemas": {"SCHEMA"}, "types": {"TYPE", "DOMAIN"}, "domain_constraints": {"CHECK CONSTRAINT", "DOMAIN"}, "collations": {"COLLATION"},
	"relations":   {"TABLE", "TABLE DATA", "TABLE ATTACH", "VIEW", "MATERIALIZED VIEW", "MATERIALIZED VIEW DATA", "FOREIGN TABLE", "SEQUENCE", "SEQUENCE SET", "DEFAULT", "ROW SECURITY"},
	"functions":   {"FUNCTION", "PROCEDURE", "AGGREGATE"},
	"constraints": {"CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT"}, "indexes": {"INDEX", "INDEX ATTACH", "CONSTRAINT"}, "statistics": {"STATISTICS"}, "rules": {"RULE"},
	"policies": {"POLICY"}, "triggers": {"TRIGGER"}, "event_triggers": {"EVENT TRIGGER"}, "publications": {"PUBLICATION", "PUBLICATION TABLE"}, "subscriptions": {"SUBSCRIPTION"},
	"default_acls": {"DEFAULT ACL"}, "servers": {"SERVER"}, "large_objects": {"BLOB", "BLOBS", "BLOB METADATA"}, "cron_jobs": {}, "vault_secrets": {},
}

// explain adds to each difference what the server said of the entry that it is about,
// and warnings for the entries that failed and that no comparison shows.
func (b *databaseBuild) explain(differences []difference) []difference {
	entries := map[string]tocEntry{}
	for _, e := range b.toc {
		entries[e.id] = e
	}
	said := map[string]bool{}
	for i, d := range differences {
		for _, f := range b.failed {
			if f.message != "" && entries[f.id].isAbout(d) {
				differences[i].sentence += " The server said: " + strings.TrimSuffix(f.message, ".") + "."
				said[f.id] = true
				break
			}
		}
	}
	for _, f := range b.failed {
		e := entries[f.id]
		if said[f.id] || b.deferred[f.id] || b.ofMissing(e) || comparisonShows(e) {
			continue
		}
		differences = append(differences, difference{gravity: notice, code: "entry_lost", name: e.desc, sentence: fmt.Sprintf("%s could not be restored: %s", e.desc, f.message)})
	}
	return differences
}

// comparisonShows reports whether a comparison shows that an entry is not there.
func comparisonShows(e tocEntry) bool {
	if e.kind == "ACL" {
		return true
	}
	for _, kinds := range entryKinds {
		if slices.Contains(kinds, e.kind) {
			return true
		}
	}
	return false
}

// ofMissing reports whether an entry belongs to an extension that could not be made, or
// only at another version: that was said once.
func (b *databaseBuild) ofMissing(e tocEntry) bool {
	for _, x := range b.extensions {
		if x.err == nil && x.made == x.version {
			continue
		}
		members, err := b.pair.prints.members(x.name)
		if err != nil {
			return false
		}
		for list, objects := range members {
			for _, o := range objects {
				if e.belongsTo(o.text("name")) || list == "schemas" && (e.schema == o.text("name") || e.isNamed("SCHEMA", o.text("name"))) {
					return true
				}
			}
		}
		if e.isNamed("EXTENSION", x.name) {
			return true
		}
	}
	return false
}

// judge makes an error of what must not be, and warnings of the rest.
func (b *databaseBuild) judge(differences []difference) error {
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
	said := strings.Join(bad[:min(namedDifferences, len(bad))], " ")
	if len(bad) > namedDifferences {
		said += fmt.Sprintf(" And %d more.", len(bad)-namedDifferences)
	}
	return fail(nil, "The restored database %s is not what was backed up, so nothing was changed. %s", b.pair.source, said)
}
