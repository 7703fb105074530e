package project

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// swapping is a swap, or its undo, at work.
type swapping struct {
	f   *folder
	m   *mover
	rec *swapRecord // nil before there is one
	own map[string]*os.File
}

// begin opens the root and the record of the swap. The root need not be there if
// nothing was swapped; then the result is nil.
func (f *folder) begin() (*swapping, error) {
	rec, err := loadRecord(f.t.recordFile(f.part), f.step)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	root, err := f.open()
	if errors.Is(err, fs.ErrNotExist) && rec == nil {
		return nil, nil //nolint:nilnil // nothing was built
	}
	if known, ok := errors.AsType[*Error](err); ok {
		return nil, known
	}
	if err != nil {
		return nil, fail(err, "The folder of the part %s cannot be opened; is its disk mounted?", f.part)
	}
	return &swapping{f: f, m: &mover{root: root, step: f.step}, rec: rec, own: map[string]*os.File{}}, nil
}

// close closes what was opened for reading.
func (s *swapping) close() {
	for _, dir := range s.own {
		_ = dir.Close()
	}
	_ = s.m.root.Close()
}

// private opens a folder that only restores write to, once: if another one takes its
// name meanwhile, nothing is moved there. The result is nil if it is not there.
func (s *swapping) private(what string) (*os.File, error) {
	if dir := s.own[what]; dir != nil {
		return dir, nil
	}
	dir, err := openPrivateDir(s.m.root, s.f.name(what))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // not there
	}
	if err != nil {
		return nil, err
	}
	s.own[what] = dir
	return dir, nil
}

// built opens the part as it was built. The result is nil if it is not there.
func (s *swapping) built() (*os.File, error) {
	if dir := s.own[""]; dir != nil {
		return dir, nil
	}
	staging, err := s.private("new")
	if err != nil || staging == nil {
		return nil, err
	}
	dir, err := openBeneath(staging, s.f.part, unix.O_RDONLY|unix.O_DIRECTORY)
	if gone(err) {
		return nil, nil //nolint:nilnil // not there
	}
	if err != nil {
		return nil, err
	}
	s.own[""] = dir
	return dir, nil
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
		if err := s.swap(); err != nil {
			return err
		}
	}
	return s.removeBuilt()
}

// plan decides what moves, once: half-way through it could not be seen any more.
func (s *swapping) plan() error {
	f := s.f
	built, err := s.built()
	if err != nil {
		return err
	}
	if built == nil {
		return fail(nil, "What was built of the part %s is not there any more, so nothing was changed.", f.part)
	}
	out, in, err := f.moves(s.m.root, built)
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
	dir, err := makePrivateDir(s.m.root, name)
	if err == nil {
		s.own[what] = dir
		return s.m.root.Sync()
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if dir, err = s.private(what); err != nil || dir == nil {
		return errors.Join(err, s.notThere(what))
	}
	if names, _ := dir.Readdirnames(1); len(names) > 0 {
		return fail(nil, "The folder %s holds files, but this restore has moved none there. Move it away by hand.", s.f.dir(what))
	}
	return nil
}

// kept opens the folder with what was replaced, which was made before the first move.
func (s *swapping) kept() (*os.File, error) {
	old, err := s.private("old")
	if err == nil && old == nil {
		err = s.notThere("old")
	}
	return old, err
}

func (s *swapping) notThere(what string) error {
	return fail(nil, "The folder %s with what the restore has replaced is not there. Is its disk mounted?", s.f.dir(what))
}

func (s *swapping) swap() error {
	f := s.f
	old, err := s.kept()
	if err != nil {
		return err
	}
	err = s.rec.run(movesOut, s.rec.Out, s.m.sync, func(_ int, name string, begun bool) (bool, error) { return s.m.out(old, name, begun) })
	if err != nil {
		return fail(err, "The old files of the part %s could not be moved away.", f.part)
	}
	built, err := s.built()
	if err != nil {
		return err
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
