package project

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"

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

// plan reads the fingerprints and says which database becomes which. live is the
// name of the project's database.
func (d *databaseRestoration) plan(live string) error {
	var in struct {
		Databases map[string]*fingerprint `json:"databases"`
	}
	if err := json.Unmarshal(d.t.Prints, &in); err != nil || len(in.Databases) == 0 {
		return fail(err, "The fingerprint in the archive cannot be read.")
	}
	d.pairs = nil
	for _, name := range slices.Sorted(maps.Keys(in.Databases)) {
		names := d.t.pairs(live)
		p := names[0]
		if name == internalDatabase && len(in.Databases) > 1 {
			if len(names) == 1 {
				continue
			}
			p = names[1]
		}
		p.source, p.prints = name, in.Databases[name]
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
		return d.adopt(ctx, a)
	}
	return nil
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
		if _, err := a.conn.Exec(ctx, s); err != nil {
			d.t.warn(Database, "role_incomplete", "", "A role could not be made as it was: "+refused(err, words(s, 3)[2]).Error())
		}
	}
	for _, r := range plan.missing {
		d.t.warn(Database, "role_made", r, "The role "+r+" was missing on the server and was made.")
	}
	return nil
}

// Swap implements [Restoration].
func (d *databaseRestoration) Swap(ctx context.Context) error {
	a, err := openAdmin(ctx, d.t.Server)
	if err != nil {
		return err
	}
	defer a.close() //nolint:errcheck // nothing is pending
	var renames []rename
	var closed, open []string
	for _, p := range d.t.pairs(a.name) {
		ready, err := a.exists(ctx, p.fresh)
		if err != nil {
			return err
		}
		if !ready {
			continue // swapped before
		}
		there, err := a.exists(ctx, p.live)
		if err != nil {
			return err
		}
		if there {
			renames, closed = append(renames, rename{p.live, p.kept}), append(closed, p.kept)
		}
		renames, open = append(renames, rename{p.fresh, p.live}), append(open, p.live)
	}
	if len(renames) > 0 {
		if err := a.swap(ctx, renames, closed, open); err != nil {
			return err
		}
	}
	if err := d.rejoin(ctx, a); err != nil {
		return err
	}
	return d.installKey(ctx)
}

// rejoin makes members of roles again who have been taken out since the backup: without
// them the services of a project cannot act for its users. Another project's stay.
func (d *databaseRestoration) rejoin(ctx context.Context, a *admin) error {
	globals, err := os.ReadFile(filepath.Join(d.t.Scratch, globalsFile))
	if errors.Is(err, os.ErrNotExist) || d.t.Foreign {
		return nil
	}
	if err != nil {
		return err
	}
	there, err := roleNames(ctx, a.conn)
	if err != nil {
		return wrapSQL(err)
	}
	now, err := memberships(ctx, a.conn)
	if err != nil {
		return wrapSQL(err)
	}
	for _, g := range lostMemberships(string(globals), there, now) {
		if _, err := a.conn.Exec(ctx, g.statement); err != nil {
			d.t.warn(Database, "membership_lost", g.member, "The role "+g.member+" was a member of "+g.role+", which could not be granted again: "+refused(err, "GRANT").Error())
			continue
		}
		d.t.warn(Database, "membership_granted", g.member, "The role "+g.member+" is a member of "+g.role+" again, as at the backup.")
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
	return errors.Join(rerr, a.drop(ctx, d.t.fresh(false)), a.drop(ctx, d.t.fresh(true)))
}

// Kept returns the databases that a restore has replaced.
func (p *DatabasePart) Kept(t Target) Kept { return &keptDatabases{p, t} }

type keptDatabases struct {
	p *DatabasePart
	t Target
}

// undone begins the names of databases that were restored and taken back.
const undone = "holdfast_undone_"

// Undo implements [Kept].
func (k *keptDatabases) Undo(ctx context.Context) error {
	a, err := openAdmin(ctx, k.t.Server)
	if err != nil {
		return err
	}
	defer a.close() //nolint:errcheck // nothing is pending
	var renames []rename
	var closed, open []string
	for i, live := range []string{a.name, internalDatabase} {
		kept, err := a.exists(ctx, k.t.keptName(live))
		if err != nil {
			return err
		}
		if !kept || i > 0 && live == a.name {
			continue
		}
		away := undone + k.t.ID + []string{"", "_internal"}[i]
		renames = append(renames, rename{live, away}, rename{k.t.keptName(live), live})
		closed, open = append(closed, away), append(open, live)
	}
	if len(renames) > 0 {
		if err := a.swap(ctx, renames, closed, open); err != nil {
			return err
		}
	}
	return k.p.returnKey(ctx, k.t)
}

// Drop implements [Kept].
func (k *keptDatabases) Drop(ctx context.Context) error {
	a, err := openAdmin(ctx, k.t.Server)
	if err != nil {
		return err
	}
	defer a.close() //nolint:errcheck // nothing is pending
	for _, name := range []string{k.t.keptName(a.name), k.t.keptName(internalDatabase), undone + k.t.ID, undone + k.t.ID + "_internal"} {
		if err := a.drop(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// installKey puts the root key of the vault where the server reads it, if it
// differs from what lies there.
func (d *databaseRestoration) installKey(ctx context.Context) error {
	key, err := os.ReadFile(filepath.Join(d.t.Scratch, keyFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil || d.t.Foreign {
		return err
	}
	at := ""
	if d.p.RootKey != nil {
		at = d.p.RootKey(ctx)
	}
	if at == "" {
		d.t.warn(Database, "vault_key_by_hand", "", "The place of the pgsodium root key was not found; put database/pgsodium_root.key of the archive there if the vault's secrets cannot be read.")
		return nil
	}
	old, err := os.ReadFile(at)
	if err == nil && string(old) == string(key) {
		return nil
	}
	if err := swapKey(at, at+"."+d.t.keptName("key"), key); err != nil {
		return fail(err, "The pgsodium root key could not be put in its place.")
	}
	d.t.warn(Database, "vault_key_replaced", "", "The pgsodium root key was replaced; restart the database so that it reads it.")
	return nil
}

// swapKey keeps what lies at a path and puts a key there, for the same owner.
func swapKey(at, kept string, key []byte) error {
	fi, err := os.Stat(at)
	if err != nil {
		return err
	}
	next := at + ".holdfast-new"
	if err := os.WriteFile(next, key, 0o600); err != nil {
		return err
	}
	return errors.Join(sameOwner(next, fi), os.Link(at, kept), os.Rename(next, at))
}

// returnKey puts a key back that installKey has replaced.
func (p *DatabasePart) returnKey(ctx context.Context, t Target) error {
	if p.RootKey == nil {
		return nil
	}
	at := p.RootKey(ctx)
	if at == "" {
		return nil
	}
	err := os.Rename(at+"."+t.keptName("key"), at)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
