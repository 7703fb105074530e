package project

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdfast-dev/holdfast/archive"
)

// Restoration returns how the databases of a project come back: each into a new
// database, which then takes the name of the old one. Supabase's second database
// comes back too, but not into another project: it belongs to the services there.
func (p *DatabasePart) Restoration(t Target) Restoration { return &databaseRestoration{p: p, t: t} }

type databaseRestoration struct {
	p     *DatabasePart
	t     Target
	pairs []pair

	workers map[string]int // background workers of the database before the swap, by kind
}

// pair is a database of the archive and the names that it gets.
type pair struct {
	source string // its name at the backup
	prints *fingerprint
	live   string // the name of what it replaces
	fresh  string // its own name until the swap
	kept   string // the name of what it has replaced
}

// freshName begins the names of databases that are being built.
const freshName = "holdfast_new_"

func (t Target) fresh(internal bool) string {
	if internal {
		return freshName + t.ID + "_internal"
	}
	return freshName + t.ID
}

// scratchName is the name of the database in which a check tries what the server can make.
func (t Target) scratchName() string { return freshName + t.ID + "_check" }

// plan reads the fingerprints and says which database becomes which. live is the
// name of the project's database.
func (d *databaseRestoration) plan(live string) error {
	databases, err := readPrints(d.t.Prints)
	if err != nil {
		return fail(err, "The fingerprint in the archive cannot be read.")
	}
	d.pairs = nil
	for _, name := range slices.Sorted(maps.Keys(databases)) {
		names := d.t.pairs(live)
		p := names[0]
		if name == internalDatabase && len(databases) > 1 {
			if len(names) == 1 {
				continue
			}
			p = names[1]
		}
		p.source, p.prints = name, databases[name]
		d.pairs = append(d.pairs, p)
	}
	return nil
}

// pairs names the databases that a restore may replace: the project's, then
// Supabase's second one. live is the name of the first.
func (t Target) pairs(live string) []pair {
	out := []pair{{live: live, fresh: t.fresh(false), kept: t.keptName(live)}}
	if !t.Foreign && live != internalDatabase {
		out = append(out, pair{live: internalDatabase, fresh: t.fresh(true), kept: t.keptName(internalDatabase)})
	}
	return out
}

// main returns the pair of the project's own database.
func (d *databaseRestoration) main() pair {
	for _, p := range d.pairs {
		if p.fresh == d.t.fresh(false) {
			return p
		}
	}
	return pair{}
}

// Build implements [Restoration].
func (d *databaseRestoration) Build(ctx context.Context, r *archive.Reader) error {
	if r != nil {
		if _, err := Spool(r, d.t.Scratch); err != nil {
			return err
		}
	}
	a, err := openAdmin(ctx, d.t.Server)
	if err != nil {
		return err
	}
	defer a.close() //nolint:errcheck // nothing is pending
	if err := errors.Join(a.drop(ctx, d.t.fresh(false)), a.drop(ctx, d.t.fresh(true))); err != nil {
		return err
	}
	if err := d.plan(a.name); err != nil {
		return err
	}
	if err := d.roles(ctx, a); err != nil {
		return err
	}
	for _, p := range d.pairs {
		b := databaseBuild{d: d, a: a, pair: p, dump: filepath.Join(d.t.Scratch, fileName(p.source)+dumpSuffix)}
		if err := b.run(ctx); err != nil {
			return err
		}
		if err := os.Remove(b.dump); err != nil { // room for what comes next
			return err
		}
	}
	if d.t.Foreign {
		if err := d.adopt(ctx, a); err != nil {
			return err
		}
	}
	return d.rememberBuilt(ctx, a)
}

// roles makes the roles that the server lacks.
func (d *databaseRestoration) roles(ctx context.Context, a *admin) error {
	globals, err := os.ReadFile(filepath.Join(d.t.Scratch, globalsFile))
	if err != nil {
		return err
	}
	there, err := roleNames(ctx, a.conn)
	if err != nil {
		return wrapSQL(err)
	}
	plan := planRoles(string(globals), there)
	for _, s := range plan.statements {
		_, err := a.conn.Exec(ctx, s)
		if grant, _, ok := strings.Cut(s, " GRANTED BY "); err != nil && ok { // whoever granted it may not do so on this server
			_, err = a.conn.Exec(ctx, grant)
		}
		if err != nil {
			what := "The role " + words(s, 3)[2] + " could not be made as it was"
			if w := words(s, 4); w[0] == "GRANT" && len(w) == 4 {
				what = "The membership of the role " + w[3] + " in " + w[1] + " could not be granted"
			}
			d.t.warn(Database, "role_incomplete", "", refused(err, what).Error())
		}
	}
	for _, r := range plan.missing {
		d.t.warn(Database, "role_made", r, "The role "+r+" was missing on the server and was made.")
	}
	return nil
}

// Discard implements [Restoration].
func (d *databaseRestoration) Discard(ctx context.Context) error {
	rerr := os.RemoveAll(d.t.Scratch)
	a, err := openAdmin(ctx, d.t.Server)
	if err != nil {
		return errors.Join(rerr, err)
	}
	defer a.close() //nolint:errcheck // nothing is pending
	return errors.Join(rerr, a.drop(ctx, d.t.fresh(false)), a.drop(ctx, d.t.fresh(true)), a.drop(ctx, d.t.scratchName()))
}
