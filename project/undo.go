package project

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
)

// CheckUndo implements [Kept].
func (f *folder) CheckUndo(context.Context) error { return nil }

// Undo implements [Kept].
func (f *folder) Undo(context.Context) error {
	s, err := f.begin()
	if err != nil || s == nil {
		return err
	}
	defer s.close()
	if s.rec == nil {
		return s.nothingKept()
	}
	if !s.rec.undone() {
		if err := s.undo(); err != nil {
			return err
		}
	}
	if n := len(s.rec.phases[backOut].Lost); n > 0 {
		return fail(nil, "%d of the files and folders that the restore of the part %s has replaced are not in %s any more, so they could not be put back. Everything else was.", n, f.part, f.dir("old"))
	}
	return removeEmpty(s.m.root, f.name("old"))
}

// nothingKept fails if there is something that no record explains.
func (s *swapping) nothingKept() error {
	for _, what := range []string{"old", "undone"} {
		if err := os.Remove(s.f.dir(what)); err == nil {
			continue // a crash has left it before anything was moved
		}
		there, err := s.there(s.f.name(what))
		if err != nil {
			return err
		}
		if there {
			return fail(nil, "The record of what the restore has moved is not in data_dir any more, so nothing was moved or removed. What it has replaced may be in %s; move it by hand.", s.f.dir(what))
		}
	}
	return nil
}

func (s *swapping) undo() error {
	f, r := s.f, s.rec
	if err := s.kept(); err != nil {
		return err
	}
	if !r.undoing() {
		if err := s.makePrivate("undone"); err != nil {
			return err
		}
	}
	old, back, built := f.name("old"), f.name("undone"), path.Join(f.name("new"), f.part)
	in, out := r.phases[movesIn], r.phases[movesOut]
	err := r.run(backIn, r.In[:in.Begun], s.m.sync, func(i int, name string, begun bool) (bool, error) {
		if i >= in.Done { // it may have come in, or not
			if waits, err := s.there(path.Join(built, name)); err != nil || waits {
				return false, err
			}
		}
		return s.m.out(back, name, begun)
	})
	if err != nil {
		return fail(err, "The restored files of the part %s could not be moved away.", f.part)
	}
	err = r.run(backOut, r.Out[:out.Begun], s.m.sync, func(i int, name string, begun bool) (bool, error) {
		if slices.Contains(out.Gone, i) {
			return false, nil
		}
		if i >= out.Done { // it may have gone out, or not
			if keeps, err := s.there(path.Join(old, name)); err != nil || !keeps {
				return false, err
			}
		}
		_, err := s.m.in(old, name, back, begun)
		return true, err
	})
	if err != nil {
		return fail(err, "The old files of the part %s could not be moved back.", f.part)
	}
	return r.note(progress{Phase: undoEnd})
}

// Drop implements [Kept].
func (f *folder) Drop(context.Context) error {
	s, err := f.begin()
	if err != nil || s == nil {
		return err
	}
	defer s.close()
	r := s.rec
	switch {
	case r == nil:
		return s.nothingKept()
	case r.undone():
		if err := s.empty(); err != nil {
			return err
		}
	case r.undoing() || !r.swapped():
		return fail(nil, "The restore of the part %s is not finished, so what it has replaced is kept.", f.part)
	}
	for _, what := range []string{"old", "undone"} {
		if err := os.RemoveAll(f.dir(what)); err != nil {
			return err
		}
	}
	if err := f.removeBuilt(r); err != nil {
		return err
	}
	return r.remove()
}

// empty fails if something that was replaced has not come back.
func (s *swapping) empty() error {
	for _, name := range s.rec.Out {
		there, err := s.there(path.Join(s.f.name("old"), string(name)))
		if err != nil {
			return err
		}
		if there {
			return fail(nil, "The folder %s still holds what the restore has replaced, so it is kept.", s.f.dir("old"))
		}
	}
	return nil
}

// Discard implements [Restoration].
func (f *folder) Discard(context.Context) error {
	rec, err := loadRecord(f.t.recordFile(f.part), f.step)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.removeBuilt(rec)
}

// removeBuilt removes what was built, unless a swap is half-way through. It never
// holds anything that was there before the restore.
func (f *folder) removeBuilt(rec *swapRecord) error {
	if rec != nil && !rec.swapped() && !rec.undone() {
		return fail(nil, "The restore of the part %s is not finished, so what was built is kept.", f.part)
	}
	return os.RemoveAll(f.dir("new"))
}
