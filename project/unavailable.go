package project

import (
	"context"

	"github.com/holdfast-dev/holdfast/archive"
)

// UnavailablePart stands for a part that a project should have and that cannot be
// found. Everything that is asked of it fails with its sentence.
type UnavailablePart struct {
	Part     string
	Sentence string // for people
}

// Name implements [Part].
func (p *UnavailablePart) Name() string { return p.Part }

// Dump implements [Part].
func (p *UnavailablePart) Dump(context.Context, *Session, *archive.Writer) ([]Warning, error) {
	return nil, p.err()
}

// Restoration implements [Part].
func (p *UnavailablePart) Restoration(Target) Restoration { return unavailable{p} }

// Kept implements [Part].
func (p *UnavailablePart) Kept(Target) Kept { return unavailable{p} }

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

// Undo implements [Kept].
func (u unavailable) Undo(context.Context) error { return u.p.err() }

// Drop implements [Kept].
func (u unavailable) Drop(context.Context) error { return u.p.err() }
