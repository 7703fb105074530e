package project

import (
	"context"

	"github.com/holdfast-dev/holdfast/archive"
)

// UnavailablePart stands for a part that a project should have and that cannot be
// found. What is asked of it fails with its sentence.
type UnavailablePart struct {
	Part     string
	Sentence string // for people

	// Place, unless nil, is the part as it will be once its folder is there, which a
	// restore makes.
	Place Part
}

// Name implements [Part].
func (p *UnavailablePart) Name() string { return p.Part }

// Dump implements [Part]. Of a project that is known to be damaged it leaves the part
// empty, with a warning.
func (p *UnavailablePart) Dump(_ context.Context, s *Session, w *archive.Writer) ([]Warning, error) {
	if !s.Wrecked {
		return nil, p.err()
	}
	t := newTally(p.Part, w)
	if err := t.note(partMissing, "", "%s", p.Sentence); err != nil {
		return nil, err
	}
	return t.warnings(), nil
}

// Available returns the error of the first part that cannot be found.
func Available(parts []Part) error {
	for _, part := range parts {
		if u, ok := part.(*UnavailablePart); ok {
			return u.err()
		}
	}
	return nil
}

// Restoration implements [Part].
func (p *UnavailablePart) Restoration(t Target) Restoration {
	switch x := p.Place.(type) {
	case *StoragePart:
		return remade{x.Restoration(t), x.place()}
	case *FunctionsPart:
		return remade{x.Restoration(t), x.place()}
	}
	return unavailable{p}
}

// Kept implements [Part].
func (p *UnavailablePart) Kept(t Target) Kept {
	if p.Place != nil {
		return p.Place.Kept(t)
	}
	return unavailable{p}
}

func (p *UnavailablePart) err() error { return fail(nil, "%s", p.Sentence) }

type unavailable struct{ p *UnavailablePart }

// Check implements [Restoration].
func (u unavailable) Check(context.Context) ([]Check, error) {
	return []Check{{Name: u.p.Part + "_folder", Problem: u.p.Sentence}}, nil
}

// Build implements [Restoration].
func (u unavailable) Build(context.Context, *archive.Reader) error { return u.p.err() }

// Swap implements [Restoration].
func (u unavailable) Swap(context.Context) error { return u.p.err() }

// Discard implements [Restoration]. Nothing was built.
func (unavailable) Discard(context.Context) error { return nil }

// CheckUndo implements [Kept].
func (u unavailable) CheckUndo(context.Context) error { return u.p.err() }

// Undo implements [Kept].
func (u unavailable) Undo(context.Context) error { return u.p.err() }

// Drop implements [Kept].
func (u unavailable) Drop(context.Context) error { return u.p.err() }

// remade is how a part comes back whose folder was not there.
type remade struct {
	Restoration
	at Place
}

// Discard implements [Restoration]. It also removes the folder, if it is empty: an
// empty one would be taken for a part in which there is nothing.
func (r remade) Discard(ctx context.Context) error {
	if err := r.Restoration.Discard(ctx); err != nil {
		return err
	}
	_ = r.at.removeEmptyDir() // fails if something is in it
	return nil
}
