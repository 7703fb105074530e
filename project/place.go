package project

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Place is where a file or folder of a project lies.
//
// A path that the operator's configuration names is trusted, and so are the links on
// it. A path that a file of the project names is not: whoever may write to the folder
// of the project has chosen it. Such a place has a bound.
type Place struct {
	Path string

	// Within, unless empty, is a folder that the operator has named. The place is only
	// opened if it lies in that folder after all links are followed.
	Within string
}

// ErrOutside says that a place leads out of the folder in which it must lie.
var ErrOutside = errors.New("it leads out of the folder of the project")

// Open opens the file or folder for reading. It fails with [ErrOutside] if the place
// does not lie in Within. The path is not looked up again when it has been checked, so
// a link that appears meanwhile is not followed.
func (p Place) Open() (*os.File, error) {
	if p.Within == "" {
		return os.OpenFile(p.Path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	}
	within, name, err := p.resolve()
	if err != nil {
		return nil, err
	}
	root, err := openRoot(within)
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // opened for reading
	f, err := openBeneath(root, name, unix.O_RDONLY)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EXDEV) { // it has changed since it was resolved
		err = p.outside()
	}
	return f, err
}

// resolve returns the bound, and the name that the place has below it, both without
// links.
func (p Place) resolve() (within, name string, err error) {
	if within, err = filepath.EvalSymlinks(p.Within); err != nil {
		return "", "", err
	}
	resolved, err := filepath.EvalSymlinks(p.Path)
	if err != nil {
		return "", "", err
	}
	if name, err = filepath.Rel(within, resolved); err != nil || !filepath.IsLocal(name) {
		return "", "", p.outside()
	}
	return within, name, nil
}

// real returns the path without links, for comparing.
func (p Place) real() (string, error) {
	if p.Within == "" {
		return filepath.EvalSymlinks(p.Path)
	}
	within, name, err := p.resolve()
	return filepath.Join(within, name), err
}

func (p Place) outside() error {
	return &fs.PathError{Op: "open", Path: p.Path, Err: fmt.Errorf("%w %s", ErrOutside, p.Within)}
}

// openDir opens the folder.
func (p Place) openDir() (*os.File, error) {
	f, err := p.Open()
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.IsDir() {
		err = &fs.PathError{Op: "open", Path: p.Path, Err: unix.ENOTDIR}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// parent opens the folder that the file lies in when all links are followed, and returns
// its name there.
func (p Place) parent() (dir *os.File, base string, err error) {
	if p.Within == "" {
		resolved, err := p.real()
		if err != nil {
			return nil, "", err
		}
		dir, err = openRoot(filepath.Dir(resolved))
		return dir, filepath.Base(resolved), err
	}
	within, name, err := p.resolve()
	if err != nil {
		return nil, "", err
	}
	root, err := openRoot(within)
	if err != nil {
		return nil, "", err
	}
	defer root.Close() //nolint:errcheck // opened for reading
	return parentBeneath(root, name)
}

// maxRead is more than any file has that is read whole.
const maxRead = 16 << 20

// Read returns the content of a regular file. It never waits for a pipe.
func (p Place) Read() ([]byte, error) {
	f, err := p.Open()
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	return readRegular(f)
}

func readRegular(f *os.File) ([]byte, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() || fi.Size() > maxRead {
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: fmt.Errorf("it is no file of at most %d MiB", maxRead>>20)}
	}
	return io.ReadAll(io.LimitReader(f, maxRead))
}

// makeDir opens the folder, and makes it first if it is not there. Below a bound only
// relative links lead on then.
func (p Place) makeDir() (*os.File, error) {
	f, err := p.openDir()
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if p.Within == "" {
		err = os.MkdirAll(p.Path, 0o755) //nolint:gosec // as the folders of the project
	} else {
		err = p.makeBeneath()
	}
	if err != nil {
		return nil, err
	}
	return p.openDir()
}

func (p Place) makeBeneath() error {
	name, err := filepath.Rel(p.Within, p.Path)
	if err != nil || !filepath.IsLocal(name) {
		return p.outside()
	}
	root, err := os.OpenRoot(p.Within)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // nothing is pending
	return root.MkdirAll(name, 0o755)
}

// nearestDir opens the folder, or the one above it that is there.
func (p Place) nearestDir() (*os.File, error) {
	for at := p; ; at.Path = filepath.Dir(at.Path) {
		f, err := at.openDir()
		if !errors.Is(err, fs.ErrNotExist) || at.Path == filepath.Dir(at.Path) {
			return f, err
		}
	}
}

// removeEmptyDir removes the folder if nothing is in it.
func (p Place) removeEmptyDir() error {
	above, err := Place{Path: filepath.Dir(p.Path), Within: p.Within}.openDir()
	if err != nil {
		return err
	}
	defer above.Close() //nolint:errcheck // opened for reading
	return unix.Unlinkat(int(above.Fd()), filepath.Base(p.Path), unix.AT_REMOVEDIR)
}

// rootOf returns a root at an open folder, whatever has become of its name.
func rootOf(dir *os.File) (*os.Root, error) {
	return os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
}

// removeAllBeneath removes what lies at a name below a folder, and follows no link.
func removeAllBeneath(dir *os.File, name string) error {
	parent, base, err := parentBeneath(dir, name)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer parent.Close() //nolint:errcheck // opened for reading
	root, err := rootOf(parent)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // nothing is pending
	return root.RemoveAll(base)
}

// readBeneath returns the content of a regular file below a folder.
func readBeneath(dir *os.File, name string) ([]byte, error) {
	f, err := openBeneath(dir, name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	return readRegular(f)
}

// createBeneath creates a file in a folder that has none of this name, for this user
// only.
func createBeneath(dir *os.File, base string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), base, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &fs.PathError{Op: "create", Path: base, Err: err}
	}
	return os.NewFile(uintptr(fd), base), nil
}

// thereBeneath reports whether something lies at a name. What cannot be seen counts as
// not there.
func thereBeneath(dir *os.File, name string) bool {
	st, err := statBeneath(dir, name)
	return err == nil && st != nil
}

// makePrivateDir makes a folder that nobody else can enter, and opens it.
func makePrivateDir(dir *os.File, name string) (*os.File, error) {
	parent, base, err := parentBeneath(dir, name)
	if err != nil {
		return nil, err
	}
	defer parent.Close() //nolint:errcheck // opened for reading
	if err := unix.Mkdirat(int(parent.Fd()), base, 0o700); err != nil {
		return nil, &fs.PathError{Op: "mkdir", Path: name, Err: err}
	}
	made, err := openPrivateDir(parent, base)
	if err != nil {
		return nil, err
	}
	if names, _ := made.Readdirnames(1); len(names) > 0 { // another one has taken its place
		return nil, errors.Join(notOurs(name), made.Close())
	}
	return made, nil
}

// openPrivateDir opens a folder that a restore has made. It fails if others own it or
// may enter it: then somebody else has made it.
func openPrivateDir(dir *os.File, name string) (*os.File, error) {
	f, err := openBeneath(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return nil, notOurs(name)
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(int(f.Fd()), &st); err == nil && (int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0) {
		err = notOurs(name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func notOurs(name string) error {
	return fail(nil, "%s, beside the files of the project, is not the folder that the restore has made there, so nothing in it is moved or removed. Look who has put it there, and move it away.", path.Base(name))
}
