package project

import (
	"context"
	"os"
	"slices"

	"golang.org/x/sys/unix"
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
		name := s.f.name(what)
		if err := unix.Unlinkat(int(s.m.root.Fd()), name, unix.AT_REMOVEDIR); err == nil {
			continue // a crash has left it before anything was moved
		}
		if st, err := statBeneath(s.m.root, name); err != nil || st == nil {
			if err != nil {
				return err
			}
			continue
		}
		return fail(nil, "The record of what the restore has moved is not in data_dir any more, so nothing was moved or removed. What it has replaced may be in %s; move it by hand.", s.f.dir(what))
	}
	return nil
}

func (s *swapping) undo() error {
	f, r := s.f, s.rec
	old, err := s.kept()
	if err != nil {
		return err
	}
	if !r.undoing() {
		if err := s.makePrivate("undone"); err != nil {
			return err
		}
	}
	back, err := s.private("undone")
	if err == nil && back == nil {
		err = s.notThere("undone")
	}
	if err != nil {
		return err
	}
	if err := s.moveBackIn(back); err != nil {
		return fail(err, "The restored files of the part %s could not be moved away.", f.part)
	}
	if err := s.moveBackOut(old, back); err != nil {
		return fail(err, "The old files of the part %s could not be moved back.", f.part)
	}
	return r.note(progress{Phase: undoEnd})
}

// moveBackIn takes away what the swap has brought.
func (s *swapping) moveBackIn(back *os.File) error {
	built, err := s.built()
	if err != nil {
		return err
	}
	in := s.rec.phases[movesIn]
	return s.rec.run(backIn, s.rec.In[:in.Begun], s.m.sync, func(i int, name string, begun bool) (bool, error) {
		if i >= in.Done && built != nil { // it may have come in, or not
			if waits, err := statBeneath(built, name); err != nil || waits != nil {
				return false, err
			}
		}
		return s.m.out(back, name, begun)
	})
}

// moveBackOut brings back what the swap has taken away.
func (s *swapping) moveBackOut(old, back *os.File) error {
	out := s.rec.phases[movesOut]
	return s.rec.run(backOut, s.rec.Out[:out.Begun], s.m.sync, func(i int, name string, begun bool) (bool, error) {
		if slices.Contains(out.Gone, i) {
			return false, nil
		}
		if i >= out.Done { // it may have gone out, or not
			if keeps, err := statBeneath(old, name); err != nil || keeps == nil {
				return false, err
			}
		}
		_, err := s.m.in(old, name, back, begun)
		return true, err
	})
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
		if err := s.remove(what); err != nil {
			return err
		}
	}
	if err := s.removeBuilt(); err != nil {
		return err
	}
	return r.remove()
}

// empty fails if something that was replaced has not come back.
func (s *swapping) empty() error {
	old, err := s.private("old")
	if err != nil || old == nil {
		return err
	}
	for _, name := range s.rec.Out {
		st, err := statBeneath(old, string(name))
		if err != nil {
			return err
		}
		if st != nil {
			return fail(nil, "The folder %s still holds what the restore has replaced, so it is kept.", s.f.dir("old"))
		}
	}
	return nil
}

// remove removes a folder that the restore has made, with all that is in it.
func (s *swapping) remove(what string) error {
	dir, err := s.private(what)
	if err != nil || dir == nil {
		return err
	}
	return removeAllBeneath(s.m.root, s.f.name(what))
}

// Discard implements [Restoration].
func (f *folder) Discard(context.Context) error {
	s, err := f.begin()
	if err != nil || s == nil {
		return err
	}
	defer s.close()
	return s.removeBuilt()
}

// removeBuilt removes what was built, unless a swap is half-way through. It never
// holds anything that was there before the restore.
func (s *swapping) removeBuilt() error {
	if s.rec != nil && !s.rec.swapped() && !s.rec.undone() {
		return fail(nil, "The restore of the part %s is not finished, so what was built is kept.", s.f.part)
	}
	return s.remove("new")
}
