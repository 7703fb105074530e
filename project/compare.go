package project

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// gravity says what a difference between a backup and what was restored of it
// means.
type gravity int

const (
	notice  gravity = iota // a warning
	schema                 // an object is missing or differs; a failure unless forced
	data                   // rows are missing; a failure unless forced
	exposed                // a table would lose row-level security; always a failure
)

// difference is something that is not as it was at the backup.
type difference struct {
	gravity  gravity
	code     string // a stable word
	name     string // of the object
	sentence string
}

// object is a row of a list of a fingerprint.
type object map[string]any

func (o object) text(field string) string {
	s, _ := o[field].(string)
	return s
}

// comparison says how the objects of a list are told apart and what a missing or
// different one means.
type comparison struct {
	list    string
	one     string   // what one of them is called
	key     []string // fields that name it
	missing gravity
	differs gravity
}

var comparisons = []comparison{
	{"extensions", "extension", []string{"name"}, notice, notice},
	{"schemas", "schema", []string{"name"}, schema, notice},
	{"types", "type", []string{"name"}, schema, schema},
	{"relations", "relation", []string{"name", "kind"}, schema, schema},
	{"functions", "function", []string{"name"}, schema, schema},
	{"constraints", "constraint", []string{"relation", "name"}, schema, schema},
	{"indexes", "index", []string{"name"}, schema, schema},
	{"policies", "policy", []string{"relation", "name"}, schema, schema},
	{"triggers", "trigger", []string{"relation", "name"}, schema, schema},
	{"event_triggers", "event trigger", []string{"name"}, notice, notice},
	{"publications", "publication", []string{"name"}, notice, notice},
	{"default_acls", "default privileges", []string{"role", "schema", "kind"}, notice, notice},
	{"servers", "foreign server", []string{"name"}, notice, notice},
	{"roles", "role", []string{"name"}, notice, notice},
	{"settings", "settings", []string{"role", "here"}, notice, notice},
	{"large_objects", "large objects", []string{"name"}, data, data},
	{"cron_jobs", "cron job", []string{"name"}, notice, notice},
	{"vault_secrets", "vault secret", []string{"name"}, data, notice},
	{"auth_migrations", "migration of auth", []string{"name"}, data, data},
	{"storage_migrations", "migration of storage", []string{"name"}, data, data},
}

// ignored are fields that may differ: sizes, and texts of definitions that
// another major version writes in another way.
func ignored(field string, sameMajor bool) bool {
	switch field {
	case "bytes", "member", "decrypts":
		return true
	case "definition", "columns", "body", "attributes", "options", "using", "check":
		return !sameMajor
	}
	return false
}

// compare returns what got, taken of a restored database, lacks of f.
func (f *fingerprint) compare(got *fingerprint) ([]difference, error) {
	var out []difference
	for _, name := range slices.Sorted(maps.Keys(f.Tables)) {
		if n, ok := got.Tables[name]; ok && n != f.Tables[name] {
			out = append(out, difference{data, "rows_differ", name, fmt.Sprintf("The table %s has %d rows, but had %d at the backup.", name, n, f.Tables[name])})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Sequences)) {
		a, b := f.Sequences[name], got.Sequences[name]
		if _, ok := got.Sequences[name]; ok && (a == nil) != (b == nil) || a != nil && b != nil && *a != *b {
			out = append(out, difference{data, "sequence_differs", name, fmt.Sprintf("The sequence %s does not stand where it stood at the backup.", name)})
		}
	}
	for _, c := range comparisons {
		d, err := c.compare(f, got)
		if err != nil {
			return nil, err
		}
		out = append(out, d...)
	}
	return out, nil
}

// objects returns a list, by the names of what it lists.
func (c comparison) objects(f *fingerprint) (map[string]object, error) {
	rows, err := f.rows(c.list)
	if err != nil {
		return nil, err
	}
	out := map[string]object{}
	for _, o := range rows {
		var key []string
		for _, k := range c.key {
			key = append(key, fmt.Sprint(o[k]))
		}
		out[strings.Join(key, "\x00")] = o
	}
	return out, nil
}

// rows returns a list as it is; nil if the fingerprint has none of this name.
func (f *fingerprint) rows(list string) (rows []object, err error) {
	raw, ok := f.Objects[list]
	if !ok {
		return nil, nil
	}
	if err := json.Unmarshal(raw, &rows); err != nil {
		return nil, fail(err, "The fingerprint in the archive cannot be read.")
	}
	return rows, nil
}

func (c comparison) compare(want, got *fingerprint) (out []difference, err error) {
	w, err := c.objects(want)
	if err != nil {
		return nil, err
	}
	g, err := c.objects(got)
	if err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(w)) {
		o := w[key]
		other, ok := g[key]
		if !ok {
			out = append(out, c.lost(o))
			continue
		}
		out = append(out, c.changed(o, other, want.Major == got.Major)...)
	}
	return out, nil
}

// label names an object for people.
func (c comparison) label(o object) string {
	var words []string
	for _, k := range c.key {
		if s := o.text(k); s != "" && k != "kind" {
			words = append(words, s)
		}
	}
	return strings.Join(words, " of ")
}

func (c comparison) lost(o object) difference {
	d := difference{c.missing, c.list + "_missing", c.label(o), fmt.Sprintf("The %s %s is missing.", c.one, c.label(o))}
	if rls, _ := o["rls"].(bool); rls {
		d.gravity = exposed // whoever makes the table again must think of it
	}
	if o.text("member") != "" {
		d.gravity, d.sentence = notice, fmt.Sprintf("The %s %s of the extension %s is missing; another version of the extension may have none.", c.one, c.label(o), o.text("member"))
	}
	return d
}

// changed compares an object that is there, field by field.
func (c comparison) changed(want, got object, sameMajor bool) (out []difference) {
	for _, field := range slices.Sorted(maps.Keys(want)) {
		if c.list == "extensions" && field == "owner" || ignored(field, sameMajor) || want.text("member") != "" && field != "acl" {
			continue
		}
		a, b := fmt.Sprint(want[field]), fmt.Sprint(got[field])
		if field == "acl" && !sameMajor {
			a, b = withoutMaintain(want[field]), withoutMaintain(got[field])
		}
		if a == b {
			continue
		}
		d := difference{c.differs, c.list + "_differ", c.label(want), fmt.Sprintf("The %s %s is not as it was: %s.", c.one, c.label(want), strings.ReplaceAll(field, "_", " "))}
		switch field {
		case "rls", "forced_rls":
			if a == "true" {
				d.gravity, d.sentence = exposed, fmt.Sprintf("The table %s would lose its row-level security.", c.label(want))
			}
		case "acl", "owner", "version", "schema":
			d.gravity = notice
		}
		out = append(out, d)
	}
	return out
}

// withoutMaintain leaves out a privilege that came with PostgreSQL 17.
func withoutMaintain(acl any) string {
	list, _ := acl.([]any)
	list = slices.DeleteFunc(slices.Clone(list), func(x any) bool {
		_, privilege, _ := strings.Cut(fmt.Sprint(x), ":")
		return strings.TrimSuffix(privilege, "*") == "MAINTAIN"
	})
	return fmt.Sprint(list)
}
