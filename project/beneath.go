package project

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxPath is how much of a name is given to the kernel at once, which takes 4095
// bytes.
const maxPath = 4000

// openBeneath opens a file or folder below an open folder. No link is followed.
func openBeneath(dir *os.File, name string, flags uint64) (*os.File, error) {
	if len(name) > maxPath {
		if cut := strings.LastIndexByte(name[:maxPath], '/'); cut > 0 {
			d, err := openBeneath(dir, name[:cut], unix.O_RDONLY|unix.O_DIRECTORY)
			if err != nil {
				return nil, err
			}
			defer d.Close() //nolint:errcheck // opened for reading
			return openBeneath(d, name[cut+1:], flags)
		}
	}
	if flags&unix.O_PATH == 0 {
		flags |= unix.O_NONBLOCK // a pipe without a writer would be waited for
	}
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	for {
		fd, err := unix.Openat2(int(dir.Fd()), name, &how)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}

// parentBeneath opens the folder that a name lies in.
func parentBeneath(dir *os.File, name string) (parent *os.File, base string, err error) {
	parent, err = openBeneath(dir, path.Dir(name), unix.O_RDONLY|unix.O_DIRECTORY)
	return parent, path.Base(name), err
}

// statBeneath returns what lies at a name, or nil if nothing does. Any other error
// than that is returned: what cannot be seen may still be there.
func statBeneath(dir *os.File, name string) (*unix.Stat_t, error) {
	parent, base, err := parentBeneath(dir, name)
	if gone(err) {
		return nil, nil //nolint:nilnil // not there
	}
	if err != nil {
		return nil, err
	}
	defer parent.Close() //nolint:errcheck // opened for reading
	var st unix.Stat_t
	err = unix.Fstatat(int(parent.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if gone(err) {
		return nil, nil //nolint:nilnil // not there
	}
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return &st, nil
}

// walkBeneath calls visit for everything below a folder, a folder before what it
// holds. visit may return [fs.SkipDir] for a folder. A folder that is not there holds
// nothing. Names may be of any bytes and longer than the kernel takes at once.
func walkBeneath(root *os.File, dir string, visit func(name string, e fs.DirEntry) error) error {
	d, err := openBeneath(root, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // opened for reading
	for {
		entries, err := d.ReadDir(1000) // bounded, however many there are
		for _, e := range entries {
			name := path.Join(dir, e.Name())
			verr := visit(name, e)
			if errors.Is(verr, fs.SkipDir) {
				continue
			}
			if verr == nil && e.IsDir() {
				verr = walkBeneath(root, name, visit)
			}
			if verr != nil {
				return verr
			}
		}
		if errors.Is(err, io.EOF) || gone(err) { // visit may have removed it
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// openRoot opens a folder by its path, which may be a link.
func openRoot(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY, 0)
}

// removeEmpty removes a folder and those in it, as far as they hold nothing else.
func removeEmpty(root *os.File, name string) error {
	parent, base, err := parentBeneath(root, name)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer parent.Close() //nolint:errcheck // opened for reading
	d, err := openBeneath(parent, base, unix.O_RDONLY|unix.O_DIRECTORY)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // opened for reading
	entries, err := d.ReadDir(-1)
	for _, e := range entries {
		if err == nil && e.IsDir() {
			err = removeEmpty(d, e.Name())
		}
	}
	if err != nil {
		return err
	}
	err = unix.Unlinkat(int(parent.Fd()), base, unix.AT_REMOVEDIR)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}
