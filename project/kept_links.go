package project

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dev/holdfast/archive"
)

// keepLinks copies those links below a folder of the root into what was built that no
// backup can hold, because they lead out of the part. A link stays if its folder
// comes back and its name is free.
func (f *folder) keepLinks(below string, built *os.File) error {
	root, err := f.open()
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // opened for reading
	k := linkKeeper{f: f, root: root, built: built}
	err = walkBeneath(root, below, func(name string, e fs.DirEntry) error {
		switch {
		case isOwn(f.part, name):
			return fs.SkipDir
		case e.Type() == fs.ModeSymlink:
			return k.keep(name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if k.kept > 0 {
		f.t.warn(f.part, "links_kept", "", fmt.Sprintf("%d symbolic links of the part %s lead out of its folder, so no backup can hold them; those that are there stay.", k.kept, f.part))
	}
	return nil
}

type linkKeeper struct {
	f     *folder
	root  *os.File
	built *os.File
	kept  int
}

// keep copies a link.
func (k *linkKeeper) keep(name string) error {
	from, base, err := parentBeneath(k.root, name)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // opened for reading
	b := make([]byte, 4097)
	n, err := unix.Readlinkat(int(from.Fd()), base, b)
	if gone(err) || err == nil && archive.CheckLink(path.Join(k.f.part, name), string(b[:n])) == nil {
		return nil
	}
	if err != nil {
		return err
	}
	into, err := openBeneath(k.built, path.Dir(name), unix.O_RDONLY|unix.O_DIRECTORY)
	if gone(err) || errors.Is(err, unix.ELOOP) {
		return nil // its folder does not come back
	}
	if err != nil {
		return err
	}
	defer into.Close() //nolint:errcheck // opened for reading
	switch err := copyLink(from, into, base, string(b[:n])); {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return err
	}
	k.kept++
	k.f.t.warn(k.f.part, "link_kept", name, "")
	return nil
}

// copyLink makes a link like one in another folder.
func copyLink(from, into *os.File, base, target string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(from.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if err := unix.Symlinkat(target, int(into.Fd()), base); err != nil {
		return err
	}
	if os.Getuid() == 0 {
		if err := unix.Fchownat(int(into.Fd()), base, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(int(into.Fd()), base, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}
