package project

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dev/holdfast/archive"
)

// tree writes things below one folder into an archive. Names are relative to
// the folder; no link is ever followed out of it. What is to be written is read
// ahead, see [ahead].
type tree struct {
	part  string
	root  *os.File
	w     *archive.Writer
	t     *tally
	ahead ahead
}

// openTree opens a folder. A folder that is not there is an error: an empty
// backup must not be green.
func openTree(part string, at Place, w *archive.Writer) (*tree, error) {
	f, err := at.openDir()
	switch {
	case errors.Is(err, ErrOutside):
		return nil, fail(err, "%s", outsideSentence(part))
	case errors.Is(err, fs.ErrNotExist):
		return nil, fail(err, "The folder of the part %s is not there; check %s.path of the project.", part, part)
	case errors.Is(err, fs.ErrPermission):
		return nil, fail(err, "The folder of the part %s may not be read by this user.", part)
	case err != nil:
		return nil, fail(err, "The folder of the part %s cannot be opened.", part)
	}
	t := &tree{part: part, root: f, w: w, t: newTally(part, w)}
	t.ahead.start(t)
	return t, nil
}

// outsideSentence says that a link leads out of the project.
func outsideSentence(part string) string {
	return fmt.Sprintf("The folder of the part %s is or lies behind a link that leads out of the folder of the project; set %s.path of the project, or list the folder in its allowed_paths.", part, part)
}

// close ends the reading ahead. What was not written by then is given up.
func (t *tree) close() {
	t.ahead.stop()
	_ = t.root.Close() // opened for reading
}

// open opens a file or folder below the root without following any link.
func (t *tree) open(name string, flags uint64) (*os.File, error) {
	return openBeneath(t.root, name, flags)
}

// trouble decides what an error of the system means for the backup.
func (t *tree) trouble(name string, err error) error {
	if gone(err) {
		return t.vanished(name)
	}
	why := "it cannot be read"
	switch {
	case errors.Is(err, fs.ErrPermission):
		why = "this user may not read it"
	case errors.Is(err, syscall.EIO):
		why = "the disk reports an error"
	case errors.Is(err, syscall.ELOOP):
		why = "it is or lies behind a symbolic link"
	}
	return fail(fmt.Errorf("%s: %w", name, err), "A file of the part %s cannot be backed up: %s. The log of the worker names it.", t.part, why)
}

func (t *tree) vanished(name string) error {
	return t.t.note(fileVanished, name, "%s was not there any more when it was to be read.", name)
}

// entry describes an open file or folder.
func (t *tree) entry(name string, f *os.File) (archive.Entry, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return archive.Entry{}, err
	}
	e := entryOf(t.part, name, &st)
	var err error
	e.Xattrs, err = xattrs(int(f.Fd()))
	return e, err
}

func entryOf(part, name string, st *unix.Stat_t) archive.Entry {
	mode := fs.FileMode(st.Mode & 0o777)
	for bit, flag := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if st.Mode&bit != 0 {
			mode |= flag
		}
	}
	return archive.Entry{Name: path.Join(part, name), Size: st.Size, Mode: mode, ModTime: mtime(st), UID: int(st.Uid), GID: int(st.Gid)}
}

// xattrs returns the user's extended attributes. Those of the system, such as
// SELinux labels, belong to the machine.
func xattrs(fd int) (map[string]string, error) {
	var small [1024]byte
	names := small[:]
	n, err := unix.Flistxattr(fd, names)
	if errors.Is(err, unix.ERANGE) {
		names = make([]byte, 64<<10) // the kernel's limit
		n, err = unix.Flistxattr(fd, names)
	}
	if errors.Is(err, unix.ENOTSUP) || err == nil && n == 0 {
		return nil, nil //nolint:nilnil // no attributes
	}
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if !strings.HasPrefix(name, "user.") {
			continue
		}
		v, err := xattr(fd, name)
		if errors.Is(err, unix.ENODATA) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		out[name] = v
	}
	return out, nil
}

func xattr(fd int, name string) (string, error) {
	var small [512]byte
	v := small[:]
	n, err := unix.Fgetxattr(fd, name, v)
	if errors.Is(err, unix.ERANGE) {
		v = make([]byte, 64<<10) // the kernel's limit
		n, err = unix.Fgetxattr(fd, name, v)
	}
	if err != nil {
		return "", err
	}
	return string(v[:n]), nil
}

// walk writes everything below the root that keep wants, folders before what they
// hold. keep also decides whether a folder is entered.
func (t *tree) walk(ctx context.Context, keep func(name string, dir bool) (take, enter bool)) error {
	if err := t.walkBelow(ctx, ".", keep); err != nil {
		return err
	}
	return t.flush(ctx)
}

func (t *tree) walkBelow(ctx context.Context, name string, keep func(name string, dir bool) (take, enter bool)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d, err := t.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return t.trouble(name, err)
	}
	defer d.Close() //nolint:errcheck // opened for reading
	for {
		entries, err := d.ReadDir(1000) // bounded, however many there are
		for _, e := range entries {
			below := path.Join(name, e.Name())
			if isOwn(t.part, below) {
				if err := t.leaveOwn(below); err != nil {
					return err
				}
				continue
			}
			if err := t.visit(ctx, below, e.IsDir(), keep); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return t.trouble(name, err)
		}
	}
}

// leaveOwn leaves out what has a name of ours. What a restore builds or keeps needs no
// warning, but others may have given the name.
func (t *tree) leaveOwn(name string) error {
	if d, err := openPrivateDir(t.root, name); err == nil {
		return d.Close()
	}
	return t.t.note(nameSkipped, name, "%s was left out, because it has a name that only Holdfast itself may give; rename it.", name)
}

func (t *tree) visit(ctx context.Context, name string, dir bool, keep func(string, bool) (bool, bool)) error {
	take, enter := keep(name, dir)
	if (take || enter) && !archive.Fits(path.Join(t.part, name)) { // nothing below it fits either
		return t.t.note(nameSkipped, name, "%s was left out, because no archive can hold a name of %d bytes.", name, len(name))
	}
	if take {
		if err := t.add(name); err != nil {
			return err
		}
	}
	if dir && enter {
		return t.walkBelow(ctx, name, keep)
	}
	return ctx.Err()
}
