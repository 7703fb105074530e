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
// nothing.
type mover struct {
	root  *os.File
	step  func(what string) error // called before each change
	dirty []string                // folders that have changed and are not synced yet
}

// rename moves a file, folder or link. It fails with EEXIST if something is at to.
func (m *mover) rename(from, to string) error {
	src, a, err := parentBeneath(m.root, from)
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // opened for reading
	dst, b, err := parentBeneath(m.root, to)
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
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	for _, dir := range []string{path.Dir(from), path.Dir(to)} {
		if !slices.Contains(m.dirty, dir) {
			m.dirty = append(m.dirty, dir)
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
	for _, name := range m.dirty {
		d, err := openBeneath(m.root, name, unix.O_RDONLY|unix.O_DIRECTORY)
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
func (m *mover) out(private, name string, begun bool) (moved bool, err error) {
	if begun {
		st, err := statBeneath(m.root, path.Join(private, name))
		if err != nil || st != nil {
			return st != nil, err
		}
	}
	st, err := statBeneath(m.root, name)
	if err != nil || st == nil {
		return false, err
	}
	if err := m.likeParents(".", private, path.Dir(name)); err != nil {
		return false, err
	}
	err = m.rename(name, path.Join(private, name))
	if gone(err) {
		return false, nil
	}
	return err == nil, err
}

// errLost says that what was to be moved back is not where it was kept.
var errLost = errors.New("it is not there any more")

// in moves a name out of a folder that only restores write to. What is in its place
// goes to aside. It fails with errLost if the name is not there. begun says that an
// earlier call may have moved it.
func (m *mover) in(private, name, aside string, begun bool) (displaced bool, err error) {
	from := path.Join(private, name)
	st, err := statBeneath(m.root, from)
	if err != nil {
		return false, err
	}
	if st == nil {
		there, err := statBeneath(m.root, name)
		if err != nil || begun && there != nil {
			return false, err
		}
		return false, fmt.Errorf("%s: %w", name, errLost)
	}
	if err := m.likeParents(private, ".", path.Dir(name)); err != nil {
		return false, err
	}
	err = m.rename(from, name)
	for k := 0; errors.Is(err, unix.EEXIST); k++ {
		displaced = true
		if err = m.rename(name, path.Join(aside, fmt.Sprintf("%sagain-%d", ownPrefix, k))); err == nil {
			err = m.rename(from, name)
		}
	}
	return displaced, err
}

// likeParents makes the folders of a name in to, like those in from.
func (m *mover) likeParents(from, to, dir string) error {
	if dir == "." {
		return nil
	}
	st, err := statBeneath(m.root, path.Join(to, dir))
	if err != nil || st != nil {
		return err
	}
	if err := m.likeParents(from, to, path.Dir(dir)); err != nil {
		return err
	}
	like, err := statBeneath(m.root, path.Join(from, dir))
	if err != nil || like == nil {
		return err
	}
	if err := m.step("mkdir"); err != nil {
		return err
	}
	return m.mkdir(path.Join(to, dir), like)
}

// mkdir makes a folder with the owner and mode of another.
func (m *mover) mkdir(name string, like *unix.Stat_t) error {
	parent, base, err := parentBeneath(m.root, name)
	if err != nil {
		return err
	}
	defer parent.Close() //nolint:errcheck // opened for reading
	if err := unix.Mkdirat(int(parent.Fd()), base, 0o700); err != nil {
		return &os.PathError{Op: "mkdir", Path: name, Err: err}
	}
	if like == nil {
		return nil
	}
	d, err := openBeneath(parent, base, unix.O_RDONLY|unix.O_DIRECTORY)
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
