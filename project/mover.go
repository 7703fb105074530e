package project

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// mover renames files and folders below one folder. It follows no link and replaces
// nothing. The folders that only restores write to are open, so nobody can give
// another one their place.
type mover struct {
	root  *os.File
	step  func(what string) error // called before each change
	dirty []spot                  // folders that have changed and are not synced yet
}

// spot is a name below an open folder.
type spot struct {
	dir  *os.File
	name string
}

// rename moves a file, folder or link. It fails with EEXIST if something is at to.
func (m *mover) rename(from, to spot) error {
	src, a, err := parentBeneath(from.dir, from.name)
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // opened for reading
	dst, b, err := parentBeneath(to.dir, to.name)
	if err != nil {
		return err
	}
	defer dst.Close() //nolint:errcheck // opened for reading
	if err := m.step("rename"); err != nil {
		return err
	}
	err = unix.Renameat2(int(src.Fd()), a, int(dst.Fd()), b, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // NFS, for one, cannot refuse to replace
		err = m.renamePlain(src, a, dst, b)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from.name, New: to.name, Err: err}
	}
	for _, s := range []spot{{from.dir, path.Dir(from.name)}, {to.dir, path.Dir(to.name)}} {
		if !slices.Contains(m.dirty, s) {
			m.dirty = append(m.dirty, s)
		}
	}
	return nil
}

// renamePlain looks first whether the new name is taken.
func (m *mover) renamePlain(src *os.File, a string, dst *os.File, b string) error {
	st, err := statBeneath(dst, b)
	if err != nil {
		return err
	}
	if st != nil {
		return unix.EEXIST
	}
	return unix.Renameat(int(src.Fd()), a, int(dst.Fd()), b)
}

// sync makes the renames durable.
func (m *mover) sync() error {
	for _, s := range m.dirty {
		d, err := openBeneath(s.dir, s.name, unix.O_RDONLY|unix.O_DIRECTORY)
		if gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	m.dirty = nil
	return nil
}

// out moves a name into a folder that only restores write to. It reports false if
// nothing is there. begun says that an earlier call may have moved it.
func (m *mover) out(private *os.File, name string, begun bool) (moved bool, err error) {
	if begun {
		st, err := statBeneath(private, name)
		if err != nil || st != nil {
			return st != nil, err
		}
	}
	st, err := statBeneath(m.root, name)
	if err != nil || st == nil {
		return false, err
	}
	if err := m.likeParents(m.root, private, path.Dir(name)); err != nil {
		return false, err
	}
	err = m.rename(spot{m.root, name}, spot{private, name})
	if gone(err) {
		if now, serr := statBeneath(m.root, name); serr == nil && now == nil {
			return false, nil // somebody has removed it meanwhile
		}
	}
	return err == nil, err
}

// errLost says that what was to be moved back is not where it was kept.
var errLost = errors.New("it is not there any more")

// in moves a name out of a folder that only restores write to, which may be nil if it
// is gone. What is in its place goes to aside. It fails with errLost if the name is not
// there. begun says that an earlier call may have moved it.
func (m *mover) in(private *os.File, name string, aside *os.File, begun bool) (displaced bool, err error) {
	var st *unix.Stat_t
	if private != nil {
		if st, err = statBeneath(private, name); err != nil {
			return false, err
		}
	}
	if st == nil {
		there, err := statBeneath(m.root, name)
		if err != nil || begun && there != nil {
			return false, err
		}
		return false, fmt.Errorf("%s: %w", name, errLost)
	}
	if err := m.likeParents(private, m.root, path.Dir(name)); err != nil {
		return false, err
	}
	from, to := spot{private, name}, spot{m.root, name}
	err = m.rename(from, to)
	for k := 0; errors.Is(err, unix.EEXIST); k++ {
		displaced = true
		if err = m.rename(to, spot{aside, fmt.Sprintf("%sagain-%d", ownPrefix, k)}); err == nil {
			err = m.rename(from, to)
		}
	}
	return displaced, err
}

// likeParents makes the folders of a name in to, like those in from.
func (m *mover) likeParents(from, to *os.File, dir string) error {
	if dir == "." {
		return nil
	}
	st, err := statBeneath(to, dir)
	if err != nil || st != nil {
		return err
	}
	if err := m.likeParents(from, to, path.Dir(dir)); err != nil {
		return err
	}
	like, err := statBeneath(from, dir)
	if err != nil || like == nil {
		return err
	}
	if err := m.step("mkdir"); err != nil {
		return err
	}
	return mkdirLike(to, dir, like)
}

// mkdirLike makes a folder with the owner and mode of another.
func mkdirLike(root *os.File, name string, like *unix.Stat_t) error {
	d, err := makePrivateDir(root, name)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // nothing is pending
	if os.Getuid() == 0 {
		if err := d.Chown(int(like.Uid), int(like.Gid)); err != nil {
			return err
		}
	}
	return unix.Fchmod(int(d.Fd()), like.Mode&0o7777)
}
