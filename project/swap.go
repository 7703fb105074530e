package project

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"
)

// swapping is a swap, or its undo, at work.
type swapping struct {
	f   *folder
	m   *mover
	rec *swapRecord // nil before there is one
}

// begin opens the root and the record of the swap. f.root need not be there if
// nothing was swapped; then the result is nil.
func (f *folder) begin() (*swapping, error) {
	rec, err := loadRecord(f.t.recordFile(f.part), f.step)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	root, err := openRoot(f.root)
	if errors.Is(err, fs.ErrNotExist) && rec == nil {
		return nil, nil //nolint:nilnil // nothing was built
	}
	if err != nil {
		return nil, fail(err, "The folder of the part %s cannot be opened; is its disk mounted?", f.part)
	}
	return &swapping{f: f, m: &mover{root: root, step: f.step}, rec: rec}, nil
}

func (s *swapping) close() { _ = s.m.root.Close() } // opened for reading

// there reports whether something is at a name below the root.
func (s *swapping) there(name string) (bool, error) {
	st, err := statBeneath(s.m.root, name)
	return st != nil, err
}

// Swap implements [Restoration].
func (f *folder) Swap(context.Context) error {
	s, err := f.begin()
	if err != nil {
		return err
	}
	if s == nil {
		return fail(nil, "What was built of the part %s is not there any more, so nothing was changed.", f.part)
	}
	defer s.close()
	if s.rec == nil {
		if err := s.plan(); err != nil {
			return err
		}
	}
	if s.rec.undoing() {
		return fail(nil, "The restore of the part %s is being undone.", f.part)
	}
	if !s.rec.swapped() {
		if err := s.kept(); err != nil {
			return err
		}
		if err := s.swap(); err != nil {
			return err
		}
	}
	return f.removeBuilt(s.rec)
}

// plan decides what moves, once: half-way through it could not be seen any more.
func (s *swapping) plan() error {
	f := s.f
	built, err := s.there(f.name("new"))
	if err != nil {
		return err
	}
	if !built {
		return fail(nil, "What was built of the part %s is not there any more, so nothing was changed.", f.part)
	}
	out, in, err := f.moves(s.m.root, path.Join(f.name("new"), f.part))
	if err != nil {
		return fail(err, "The old files of the part %s could not be moved away.", f.part)
	}
	if err := s.makePrivate("old"); err != nil {
		return err
	}
	s.rec, err = createRecord(f.t.recordFile(f.part), swapPlan{Out: asBytes(out), In: asBytes(in)}, f.step)
	return err
}

// makePrivate makes a folder that only restores write to, and what it holds they
// have moved there. One that is not empty is somebody else's.
func (s *swapping) makePrivate(what string) error {
	name := s.f.name(what)
	if err := s.f.step("mkdir"); err != nil {
		return err
	}
	err := s.m.mkdir(name, nil)
	if !errors.Is(err, fs.ErrExist) {
		return errors.Join(err, s.m.root.Sync())
	}
	d, err := openBeneath(s.m.root, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // opened for reading
	if names, _ := d.Readdirnames(1); len(names) > 0 {
		return fail(nil, "The folder %s holds files, but this restore has moved none there. Move it away by hand.", s.f.dir(what))
	}
	return nil
}

// kept fails if the folder with what was replaced is not there, which was made before
// the first move.
func (s *swapping) kept() error {
	there, err := s.there(s.f.name("old"))
	if err == nil && !there {
		return fail(nil, "The folder %s with what the restore has replaced is not there. Is its disk mounted?", s.f.dir("old"))
	}
	return err
}

func (s *swapping) swap() error {
	f := s.f
	old, built := f.name("old"), path.Join(f.name("new"), f.part)
	err := s.rec.run(movesOut, s.rec.Out, s.m.sync, func(_ int, name string, begun bool) (bool, error) { return s.m.out(old, name, begun) })
	if err != nil {
		return fail(err, "The old files of the part %s could not be moved away.", f.part)
	}
	err = s.rec.run(movesIn, s.rec.In, s.m.sync, func(_ int, name string, begun bool) (bool, error) {
		displaced, err := s.m.in(built, name, old, begun)
		if displaced && err == nil {
			f.t.warn(f.part, "replaced_again", name, fmt.Sprintf("A file or folder of the part %s was made again during the swap; it is kept with what was replaced.", f.part))
		}
		return true, err
	})
	if err != nil {
		return fail(err, "The new files of the part %s could not be moved to their place.", f.part)
	}
	return nil
}
