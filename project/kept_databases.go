package project

import (
	"context"
)

// Kept returns the databases that a restore has replaced.
func (p *DatabasePart) Kept(t Target) Kept { return &keptDatabases{p, t} }

type keptDatabases struct {
	p *DatabasePart
	t Target
}

// undone begins the names of databases that were restored and taken back.
const undone = "holdfast_undone_"

// swap returns which databases change their names in an undo.
func (k *keptDatabases) swap(ctx context.Context, a *admin) (s swap, err error) {
	for i, live := range []string{a.name, internalDatabase} {
		kept, err := a.exists(ctx, k.t.keptName(live))
		if err != nil {
			return s, err
		}
		if !kept || i > 0 && live == a.name {
			continue
		}
		there, err := a.exists(ctx, live)
		if err != nil {
			return s, err
		}
		if there {
			away := undone + k.t.ID + []string{"", "_internal"}[i]
			s.renames, s.closed = append(s.renames, rename{live, away}), append(s.closed, away)
		}
		s.renames, s.open = append(s.renames, rename{k.t.keptName(live), live}), append(s.open, live)
	}
	return s, nil
}

// CheckUndo implements [Kept].
func (k *keptDatabases) CheckUndo(ctx context.Context) error {
	a, err := openAdmin(ctx, k.t.Server)
	if err != nil {
		return err
	}
	defer a.close() //nolint:errcheck // nothing is pending
	s, err := k.swap(ctx, a)
	if err != nil {
		return err
	}
	return a.refusePrepared(ctx, s)
}

// Undo implements [Kept].
func (k *keptDatabases) Undo(ctx context.Context) error {
	a, err := openAdmin(ctx, k.t.Server)
	if err != nil {
		return err
	}
	defer a.close() //nolint:errcheck // nothing is pending
	s, err := k.swap(ctx, a)
	if err != nil {
		return err
	}
	if len(s.renames) > 0 {
		if err := a.swap(ctx, s); err != nil {
			return err
		}
	}
	// A swap that was cut off may have closed what it was about to replace.
	for _, live := range []string{a.name, internalDatabase} {
		if err := a.open(ctx, live); err != nil {
			return err
		}
	}
	if there, err := a.exists(ctx, a.name); err != nil {
		return err
	} else if there {
		if err := a.resumeSubscriptions(ctx, a.name); err != nil {
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
	return k.t.dropKey()
}
