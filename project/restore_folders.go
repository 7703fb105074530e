package project

import (
	"context"
	"os"
	"path"
	"path/filepath"
)

// Restoration returns how the functions come back: all of them, in the place of
// all that are there.
func (p *FunctionsPart) Restoration(t Target) Restoration { return p.folder(t) }

// Kept returns the functions that a restore has replaced.
func (p *FunctionsPart) Kept(t Target) Kept { return p.folder(t) }

func (p *FunctionsPart) folder(t Target) *folder {
	f := &folder{part: Functions, root: p.Path, t: t}
	f.moves = replaceAll
	f.finish = func(_ context.Context, built string) error {
		if err := p.scan(built, t); err != nil {
			return err
		}
		return f.keepLinks(".")
	}
	return f
}

// replaceAll replaces whatever lies in the root.
func replaceAll(root *os.File, built string) (out, in []string, err error) {
	if out, err = children(root, "."); err != nil {
		return nil, nil, err
	}
	in, err = children(root, built)
	return out, in, err
}

// Restoration returns how the storage files come back. When they are those that
// Supabase's database lists, the folder of the project's objects is replaced, else
// everything is.
func (p *StoragePart) Restoration(t Target) Restoration { return p.folder(t) }

// Kept returns the files that a restore has replaced.
func (p *StoragePart) Kept(t Target) Kept { return p.folder(t) }

func (p *StoragePart) folder(t Target) *folder {
	f := &folder{part: Storage, root: p.Path, t: t, xattrs: true, replaced: p.base()}
	f.moves = p.moves
	f.finish = func(ctx context.Context, built string) error {
		if t.Foreign {
			if err := p.remap(built); err != nil {
				return err
			}
		}
		if err := p.reconcile(ctx, t, built); err != nil {
			return err
		}
		return f.keepLinks(p.base())
	}
	return f
}

// moves replaces the folder of the project's objects; without one, everything.
func (p *StoragePart) moves(root *os.File, built string) (out, in []string, err error) {
	base := p.base()
	brought, err := statBeneath(root, path.Join(built, base))
	if err != nil {
		return nil, nil, err
	}
	there, err := statBeneath(root, base)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case brought == nil && there == nil:
		return replaceAll(root, built)
	case there != nil:
		out = []string{base}
	}
	if brought == nil {
		return out, nil, nil
	}
	for there == nil && path.Dir(base) != "." { // what leads to it comes as well
		if there, err = statBeneath(root, path.Dir(base)); err != nil {
			return nil, nil, err
		}
		if there == nil {
			base = path.Dir(base)
		}
	}
	return out, []string{base}, nil
}

// base is the folder of the project's objects below the storage root.
func (p *StoragePart) base() string {
	if p.Tenant == "" {
		return "stub/stub"
	}
	return p.Tenant
}

// TenantFolder returns where the objects of the project lie below Path.
func (p *StoragePart) TenantFolder() string { return p.base() }

// remap gives the objects of another project the folder of this one.
func (p *StoragePart) remap(built string) error {
	found, err := filepath.Glob(filepath.Join(built, "*", "*"))
	if err != nil || len(found) != 1 || found[0] == filepath.Join(built, p.base()) {
		return err
	}
	to := filepath.Join(built, p.base())
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // as the folders of the project
		return err
	}
	return os.Rename(found[0], to)
}
