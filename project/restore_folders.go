package project

import (
	"context"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Restoration returns how the functions come back: all of them, in the place of
// all that are there.
func (p *FunctionsPart) Restoration(t Target) Restoration { return p.folder(t) }

// Kept returns the functions that a restore has replaced.
func (p *FunctionsPart) Kept(t Target) Kept { return p.folder(t) }

func (p *FunctionsPart) folder(t Target) *folder {
	f := &folder{part: Functions, at: p.place(), t: t}
	f.moves = replaceAll
	f.finish = func(_ context.Context, built *os.File) error {
		if err := p.scan(built, t); err != nil {
			return err
		}
		return f.keepLinks(".", built)
	}
	return f
}

// replaceAll replaces whatever lies in the root.
func replaceAll(root, built *os.File) (out, in []string, err error) {
	if out, err = children(root); err != nil {
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
	f := &folder{part: Storage, at: p.place(), t: t, xattrs: true, replaced: p.base()}
	f.moves = p.moves
	f.finish = func(ctx context.Context, built *os.File) error {
		if t.Foreign {
			if err := p.remap(built); err != nil {
				return err
			}
		}
		if err := p.reconcile(ctx, t, built); err != nil {
			return err
		}
		return f.keepLinks(p.base(), built)
	}
	return f
}

// moves replaces the folder of the project's objects; without one, everything.
func (p *StoragePart) moves(root, built *os.File) (out, in []string, err error) {
	base := p.base()
	brought, err := statBeneath(built, base)
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
func (p *StoragePart) remap(built *os.File) error {
	var found []string
	err := walkBeneath(built, ".", func(name string, _ fs.DirEntry) error {
		if !strings.Contains(name, "/") {
			return nil
		}
		found = append(found, name)
		return fs.SkipDir
	})
	if err != nil || len(found) != 1 || found[0] == p.base() {
		return err
	}
	root, err := rootOf(built)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // nothing is pending
	if err := root.MkdirAll(path.Dir(p.base()), 0o755); err != nil {
		return err
	}
	return root.Rename(found[0], p.base())
}
