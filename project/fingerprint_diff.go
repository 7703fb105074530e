package project

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
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
	list     string // of the fingerprint
	of       object // at the backup; nil for rows and sequences
	field    string // that differs; "" if all of it is missing
}

// object is a row of a list of a fingerprint.
type object map[string]any

func (o object) text(field string) string {
	s, _ := o[field].(string)
	return s
}

func (o object) is(field string) bool {
	b, _ := o[field].(bool)
	return b
}

// comparison says how the objects of a list are told apart and what a missing or
// different one means.
type comparison struct {
	list    string
	one     string   // what one of them is called
	key     []string // fields that name it
	missing gravity
	differs gravity // in what is no text of a definition
}

var comparisons = []comparison{
	{"extensions", "extension", []string{"name"}, schema, notice},
	{"database", "database", nil, notice, schema},
	{"schemas", "schema", []string{"name"}, schema, schema},
	{"types", "type", []string{"name"}, schema, schema},
	{"domain_constraints", "constraint", []string{"type", "name"}, schema, schema},
	{"collations", "collation", []string{"name"}, schema, notice},
	{"relations", "relation", []string{"name", "kind"}, schema, schema},
	{"functions", "function", []string{"name"}, schema, schema},
	{"constraints", "constraint", []string{"relation", "name"}, schema, schema},
	{"indexes", "index", []string{"name"}, schema, schema},
	{"statistics", "statistics object", []string{"name"}, schema, notice},
	{"rules", "rule", []string{"relation", "name"}, schema, schema},
	{"policies", "policy", []string{"relation", "name"}, schema, schema},
	{"triggers", "trigger", []string{"relation", "name"}, schema, schema},
	{"event_triggers", "event trigger", []string{"name"}, schema, notice},
	{"publications", "publication", []string{"name"}, schema, notice},
	{"subscriptions", "subscription", []string{"name"}, notice, notice},
	{"default_acls", "default privileges", []string{"role", "schema", "kind"}, schema, schema},
	{"servers", "foreign server", []string{"name"}, schema, schema},
	{"roles", "role", []string{"name"}, notice, notice},
	{"settings", "settings", []string{"role", "here"}, notice, notice},
	{"large_objects", "large objects", []string{"name"}, data, data},
	{"cron_jobs", "cron job", []string{"name"}, data, notice},
	{"vault_secrets", "vault secret", []string{"name"}, data, data},
	{"auth_migrations", "migration of auth", []string{"name"}, data, data},
	{"storage_migrations", "migration of storage", []string{"name"}, data, data},
}

// comparisonOf returns the comparison of a list.
func comparisonOf(list string) comparison {
	return comparisons[slices.IndexFunc(comparisons, func(c comparison) bool { return c.list == list })]
}

// ignored are fields that may differ: sizes, what is computed anew, and what the
// fields beside them say already.
var ignored = []string{"bytes", "member", "config", "url", "collation_version", "tablespace", "name", "function"}

// definitions are fields that hold the text of a definition. PostgreSQL changes the
// text of some without changing their meaning, see [databaseBuild.sameMeaning].
var definitions = []string{"definition", "columns", "body", "using", "check", "options", "tags", "tables"}

// compare returns what got, taken of a restored database, lacks of f.
func (f *fingerprint) compare(got *fingerprint) ([]difference, error) {
	var out []difference
	for _, name := range slices.Sorted(maps.Keys(f.Tables)) {
		if n, ok := got.Tables[name]; ok && n != f.Tables[name] {
			out = append(out, difference{gravity: data, code: "rows_differ", name: name, list: "relations", sentence: fmt.Sprintf("The table %s has %d rows, but had %d at the backup.", name, n, f.Tables[name])})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Sequences)) {
		a, b := f.Sequences[name], got.Sequences[name]
		if _, ok := got.Sequences[name]; ok && ((a == nil) != (b == nil) || a != nil && *a != *b) {
			out = append(out, difference{gravity: data, code: "sequence_differs", name: name, list: "relations", sentence: fmt.Sprintf("The sequence %s does not stand where it stood at the backup.", name)})
		}
	}
	gone, changed, err := f.otherExtensions(got)
	if err != nil {
		return nil, err
	}
	for _, c := range comparisons {
		d, err := c.compare(f, got)
		if err != nil {
			return nil, err
		}
		out = append(out, slices.DeleteFunc(d, func(d difference) bool { // said once, of the extension
			of := d.of.text("member")
			return slices.Contains(gone, of) || slices.Contains(changed, of) && (d.field == "" || d.field == "attributes")
		})...)
	}
	return out, nil
}

// otherExtensions returns the extensions that got lacks, and those that it has at
// another version.
func (f *fingerprint) otherExtensions(got *fingerprint) (gone, changed []string, err error) {
	c := comparisons[0]
	w, err := c.objects(f)
	if err != nil {
		return nil, nil, err
	}
	g, err := c.objects(got)
	for name, o := range w {
		other, ok := g[name]
		switch {
		case !ok:
			gone = append(gone, name)
		case other.text("version") != o.text("version"):
			changed = append(changed, name)
		}
	}
	return gone, changed, err
}

// objects returns a list, by the names of what it lists.
func (c comparison) objects(f *fingerprint) (map[string]object, error) {
	rows, err := f.rows(c.list)
	if err != nil {
		return nil, err
	}
	out := map[string]object{}
	for _, o := range rows {
		out[c.keyOf(o)] = o
	}
	return out, nil
}

// keyOf returns what tells an object from the others of its list.
func (c comparison) keyOf(o object) string {
	var key []string
	for _, k := range c.key {
		key = append(key, fmt.Sprint(o[k]))
	}
	return strings.Join(key, "\x00")
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

// database returns what a fingerprint has of its database as a whole.
func (f *fingerprint) database() (object, error) {
	rows, err := f.rows("database")
	if err != nil || len(rows) == 0 {
		return object{}, err
	}
	return rows[0], nil
}

func (c comparison) compare(want, got *fingerprint) (out []difference, err error) {
	if _, ok := got.Objects[c.list]; !ok && c.list != "cron_jobs" && c.list != "vault_secrets" {
		return nil, nil // this role may not see it
	}
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
		switch {
		case ok:
			out = append(out, c.changed(o, other, want.Major == got.Major)...)
		case c.list == "indexes" && o["valid"] == false: // pg_dump leaves it out
		default:
			out = append(out, c.lost(o))
		}
	}
	return out, nil
}

// label names an object for people.
func (c comparison) label(o object) string {
	switch c.list {
	case "database":
		return o.text("name")
	case "settings":
		at := "of the database"
		if o.text("role") != "" {
			at = "of the role " + o.text("role")
			if o.is("here") {
				at += " in the database"
			}
		}
		return at
	case "default_acls":
		in := ""
		if o.text("schema") != "" {
			in = " in the schema " + o.text("schema")
		}
		return "of the role " + o.text("role") + in + " for " + map[string]string{"r": "tables", "S": "sequences", "f": "functions", "T": "types", "n": "schemas"}[o.text("kind")]
	}
	var words []string
	for _, k := range c.key {
		if s := o.text(k); s != "" && k != "kind" {
			words = append(words, s)
		}
	}
	slices.Reverse(words)
	return strings.Join(words, " of ")
}

func (c comparison) lost(o object) difference {
	d := difference{gravity: c.missing, code: c.list + "_missing", name: c.label(o), sentence: fmt.Sprintf("The %s %s is missing.", c.one, c.label(o)), list: c.list, of: o}
	if c.list == "default_acls" || c.list == "settings" {
		d.sentence = fmt.Sprintf("The %s %s are missing.", c.one, c.label(o))
	}
	if o.is("rls") {
		d.gravity = exposed // whoever makes the table again must think of it
	}
	if o.text("member") != "" && c.list != "policies" {
		d.gravity, d.sentence = notice, fmt.Sprintf("The %s %s of the extension %s is missing; the extension does not make it itself at this version.", c.one, c.label(o), o.text("member"))
	}
	return d
}

// changed compares an object that is there, field by field.
func (c comparison) changed(want, got object, sameMajor bool) (out []difference) {
	member := want.text("member") != ""
	for _, field := range slices.Sorted(maps.Keys(want)) {
		other, known := got[field]
		if slices.Contains(ignored, field) || !known || c.list == "extensions" && field == "owner" || member && !slices.Contains([]string{"acl", "column_acl", "attributes", "rls", "forced_rls"}, field) {
			continue
		}
		d := difference{gravity: c.differs, code: c.list + "_differ", name: c.label(want), list: c.list, of: want}
		how := strings.ReplaceAll(field, "_", " ")
		switch {
		case field == "acl" || field == "column_acl" || field == "privileges":
			if how = aclChange(want[field], other); how == "" {
				continue
			}
		case sameValue(want[field], other):
			continue
		case c.list == "extensions" && field == "version":
			d.sentence, how = fmt.Sprintf("The extension %s is at version %v; it was at %v at the backup.", c.label(want), other, want[field]), ""
		case c.list == "subscriptions" && field == "enabled":
			d.sentence, how = fmt.Sprintf("The subscription %s is disabled in the restored database; enable it when its publisher shall send here again.", c.label(want)), ""
		case c.list == "cron_jobs" && (field == "database" || field == "active"):
			continue // the database may have another name, and another project's jobs rest
		case field == "columns":
			how, d.gravity = columnsChange(want[field], other)
			if how == "" {
				continue
			}
		case c.list == "publications" && field == "tables" && !sameMajor && sameValue(tableNames(want[field]), tableNames(other)):
			continue // PostgreSQL 17 does not list generated columns
		case c.list == "settings":
			if field != "definition" {
				continue // which the definition says too
			}
			how = strings.Trim(fmt.Sprint(want["names"]), "[]")
		case slices.Contains(definitions, field):
			d.gravity = notice
			if !sameMajor && isDigest(want[field]) && !isDigest(other) { // a text of format 1
				continue
			}
		case field == "rls" || field == "forced_rls":
			if want.is(field) {
				d.gravity, how = exposed, ""
				d.sentence = fmt.Sprintf("The table %s would lose its row-level security.", c.label(want))
			}
		case field == "decrypts":
			if !want.is(field) {
				continue
			}
			d.gravity, how = notice, ""
			d.sentence = fmt.Sprintf("The vault secret %s cannot be decrypted: the server has another root key than at the backup. Put the old key in its place and restart the database server, or make the secret again.", c.label(want))
		}
		if member && d.gravity != exposed {
			d.gravity = notice
		}
		if d.sentence == "" {
			d.sentence = c.differ(want, how)
		}
		d.field = field
		out = append(out, d)
	}
	return out
}

// differ says how an object differs.
func (c comparison) differ(o object, how string) string {
	are := "is"
	if c.list == "settings" || c.list == "default_acls" {
		are = "are"
	}
	return strings.ReplaceAll(fmt.Sprintf("The %s %s %s not as at the backup: %s.", c.one, c.label(o), are, how), "  ", " ")
}

// tableNames returns the tables of a publication without their columns and conditions.
func tableNames(v any) (names []string) {
	list, _ := v.([]any)
	for _, x := range list {
		name, _, _ := strings.Cut(fmt.Sprint(x), " ")
		names = append(names, name)
	}
	return names
}

// digest is how fingerprints of format 1 hold the texts of definitions.
var digest = regexp.MustCompile(`^[0-9a-f]{32}$`)

func isDigest(v any) bool {
	s, ok := v.(string)
	return ok && digest.MatchString(s)
}

// sameValue compares two values of JSON. Of a text of which only a digest is known,
// the digests are compared.
func sameValue(want, got any) bool {
	if s, ok := got.(string); ok && isDigest(want) && !isDigest(got) {
		return want == md5Of(s)
	}
	if _, list := got.([]any); list && isDigest(want) {
		return true // columns of format 1: their digest says too little
	}
	return reflect.DeepEqual(want, got)
}

// aclChange says who has lost and who has gained which privileges. MAINTAIN came with
// PostgreSQL 17 and is no difference.
func aclChange(want, got any) string {
	w, g := privilegeSet(want), privilegeSet(got)
	var lost, gained []string
	for p := range w {
		if !g[p] {
			lost = append(lost, p)
		}
	}
	for p := range g {
		if !w[p] {
			gained = append(gained, p)
		}
	}
	slices.Sort(lost)
	slices.Sort(gained)
	var out []string
	if len(lost) > 0 {
		out = append(out, "privileges are missing ("+strings.Join(lost, ", ")+")")
	}
	if len(gained) > 0 {
		out = append(out, "privileges were added ("+strings.Join(gained, ", ")+")")
	}
	return strings.Join(out, ", ")
}

func privilegeSet(acl any) map[string]bool {
	out := map[string]bool{}
	list, _ := acl.([]any)
	for _, x := range list {
		who, what, _ := strings.Cut(fmt.Sprint(x), ":")
		if strings.TrimSuffix(what, "*") != "MAINTAIN" {
			out[strings.TrimPrefix(who, "@")+": "+what] = true
		}
	}
	return out
}

// columnsChange says which columns differ, and how grave that is: only the text of a
// default or a generation expression may.
func columnsChange(want, got any) (how string, g gravity) {
	w, g2 := columnsByName(want), columnsByName(got)
	var said []string
	for _, name := range slices.Sorted(maps.Keys(w)) {
		other, ok := g2[name]
		if !ok {
			said, g = append(said, "the column "+name+" is missing"), schema
			continue
		}
		for _, field := range slices.Sorted(maps.Keys(w[name])) {
			if reflect.DeepEqual(w[name][field], other[field]) {
				continue
			}
			said = append(said, strings.ReplaceAll(field, "_", " ")+" of the column "+name)
			if field != "default" {
				g = schema
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(g2)) {
		if _, ok := w[name]; !ok {
			said, g = append(said, "the column "+name+" was added"), schema
		}
	}
	return strings.Join(said, ", "), g
}

func columnsByName(v any) map[string]map[string]any {
	out := map[string]map[string]any{}
	list, _ := v.([]any)
	for _, x := range list {
		if c, ok := x.(map[string]any); ok {
			out[fmt.Sprint(c["name"])] = c
		}
	}
	return out
}
