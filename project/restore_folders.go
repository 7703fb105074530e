package project

import (
	"context"
	"os"
	"path/filepath"
)

// Restoration returns how the functions come back: all of them, in the place of
// all that are there.
func (p *FunctionsPart) Restoration(t Target) Restoration { return p.folder(t) }

// Kept returns the functions that a restore has replaced.
func (p *FunctionsPart) Kept(t Target) Kept { return p.folder(t) }

func (p *FunctionsPart) folder(t Target) *folder {
	f := &folder{part: Functions, root: p.Path, t: t}
	f.moves = f.allChildren
	f.finish = func(_ context.Context, built string) error { return p.scan(built, t) }
	return f
}

// allChildren replaces whatever lies in the root.
func (f *folder) allChildren(built string) (out, in []string, err error) {
	if out, err = children(f.root); err != nil {
		return nil, nil, err
	}
	in, err = children(built)
	return out, in, err
}

// Restoration returns how the storage files come back. When they are those that
// Supabase's database lists, the folder of the project's objects is replaced, else
// everything is.
func (p *StoragePart) Restoration(t Target) Restoration { return p.folder(t) }

// Kept returns the files that a restore has replaced.
func (p *StoragePart) Kept(t Target) Kept { return p.folder(t) }

func (p *StoragePart) folder(t Target) *folder {
	f := &folder{part: Storage, root: p.Path, t: t, xattrs: true}
	f.moves = func(built string) (out, in []string, err error) {
		if !exists(filepath.Join(built, p.base())) {
			if _, err := os.Stat(filepath.Join(f.root, p.base())); err != nil {
				return f.allChildren(built)
			}
		}
		return []string{p.base()}, []string{p.base()}, nil
	}
	f.finish = func(ctx context.Context, built string) error {
		if t.Foreign {
			if err := p.remap(built); err != nil {
				return err
			}
		}
		return p.reconcile(ctx, t, built)
	}
	return f
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
