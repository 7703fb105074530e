package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ExtractOptions bound and shape an extraction.
type ExtractOptions struct {
	MaxBytes   int64 // of content; required
	MaxEntries int64 // required
	Owner      bool  // set the numeric owner of every entry; needs root

	// Room, unless nil, is called before about n bytes are written to the disk.
	Room func(n int64) error

	// Skip, unless nil, chooses entries that are verified and not written.
	Skip func(name string) bool

	// Privileged sets the setuid and setgid bits of modes. Whoever may write to a
	// destination could give away the rights of the owner with them.
	Privileged bool

	// Withheld, unless nil, is told of each entry that is written without something: a
	// bit of its mode, or an attribute that is none of the user's, which is never set.
	Withheld func(name string)
}

// Extract writes the rest of r below root, which should be empty and which nobody else
// should be able to enter, and returns when everything is verified. Nothing is ever
// written outside root, whatever the archive says. Of extended attributes only those
// of the user are set. It stops soon after ctx ends. After an error what lies in root
// must not be used.
func Extract(ctx context.Context, root *os.Root, r *Reader, o ExtractOptions) error {
	x := extraction{buf: make([]byte, 64*zeroBlock), root: root, o: o, dirs: map[string]bool{".": true}}
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return x.leave("")
		}
		if err != nil {
			return err
		}
		if o.MaxEntries--; o.MaxEntries < 0 {
			return fmt.Errorf("%w: entries", ErrLimit)
		}
		if o.MaxBytes -= e.Size; o.MaxBytes < 0 {
			return fmt.Errorf("%w: bytes", ErrLimit)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if o.Skip != nil && o.Skip(e.Name) {
			continue
		}
		if err := x.write(x.withhold(e), r); err != nil {
			return &EntryError{Name: e.Name, Size: e.Size, Err: err}
		}
	}
}

// withhold takes from an entry what would give rights to whoever runs it.
func (x *extraction) withhold(e Entry) Entry {
	had := len(e.Xattrs)
	maps.DeleteFunc(e.Xattrs, func(name, _ string) bool { return !strings.HasPrefix(name, userAttr) })
	lost := len(e.Xattrs) < had
	if !x.o.Privileged && e.Kind != Link && e.Mode&privileged != 0 {
		e.Mode &^= privileged
		lost = true
	}
	if lost && x.o.Withheld != nil {
		x.o.Withheld(e.Name)
	}
	return e
}

// userAttr begins the names of attributes that a file's owner may set.
const userAttr = "user."

const privileged = fs.ModeSetuid | fs.ModeSetgid

// EntryError says which entry [Extract] could not write.
type EntryError struct {
	Name string
	Size int64
	Err  error
}

// Error implements error.
func (e *EntryError) Error() string { return "extract " + e.Name + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *EntryError) Unwrap() error { return e.Err }

type extraction struct {
	buf  []byte
	root *os.Root
	o    ExtractOptions
	dirs map[string]bool // known to be real folders; forgotten when it grows
	open []Entry         // folders that get their mode and time when they are left, the outermost first
}

// maxKnown bounds the memory of an extraction.
const maxKnown = 10_000

func (x *extraction) write(e Entry, r io.Reader) error {
	if err := x.leave(e.Name); err != nil {
		return err
	}
	if err := x.folder(path.Dir(e.Name)); err != nil {
		return err
	}
	switch e.Kind {
	case Dir:
		return x.dir(e)
	case Link:
		if err := x.root.Symlink(e.Target, e.Name); err != nil {
			return exists(err)
		}
		return x.link(e)
	case File:
	}
	return x.file(e, r)
}

// link gives a link its owner and time.
func (x *extraction) link(e Entry) error {
	if x.o.Owner {
		if err := x.root.Lchown(e.Name, e.UID, e.GID); err != nil {
			return err
		}
	}
	dir, err := x.root.Open(path.Dir(e.Name))
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // opened for reading
	at := unix.NsecToTimespec(e.ModTime.UnixNano())
	return unix.UtimesNanoAt(int(dir.Fd()), path.Base(e.Name), []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
}

// folder makes sure that name is a real folder below root, and no link to one, which
// can be written to.
func (x *extraction) folder(name string) error {
	if x.dirs[name] {
		return nil
	}
	if err := x.folder(path.Dir(name)); err != nil {
		return err
	}
	err := x.root.Mkdir(name, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err != nil {
		if err := x.enter(name); err != nil {
			return err
		}
	}
	if len(x.dirs) > maxKnown {
		x.dirs = map[string]bool{".": true}
	}
	x.dirs[name] = true
	return nil
}

// enter goes back into a folder that was left.
func (x *extraction) enter(name string) error {
	fi, err := x.root.Lstat(name)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%w: %q is not a folder, yet it has entries", ErrUnsafe, name)
	}
	if slices.ContainsFunc(x.open, func(e Entry) bool { return e.Name == name }) {
		return nil
	}
	x.open = append(x.open, Entry{Name: name, Mode: fi.Mode() & modeBits, ModTime: fi.ModTime()})
	f, err := x.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(fi.Mode()&modeBits|0o700), f.Close())
}

func (x *extraction) dir(e Entry) error {
	if err := x.folder(e.Name); err != nil {
		return err
	}
	f, err := x.root.Open(e.Name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	x.open = slices.DeleteFunc(x.open, func(o Entry) bool { return o.Name == e.Name })
	x.open = append(x.open, e)
	return x.dress(f, e, e.Mode|0o700)
}

// leave gives the folders that the next entry does not lie below their modes and
// times, the inner ones first.
func (x *extraction) leave(next string) error {
	for n := len(x.open); n > 0; n-- {
		e := x.open[n-1]
		if strings.HasPrefix(next, e.Name+"/") || next == e.Name {
			return nil
		}
		f, err := x.root.Open(e.Name)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Chmod(e.Mode), setTime(f, e.ModTime), f.Close()); err != nil {
			return err
		}
		x.open = x.open[:n-1]
		delete(x.dirs, e.Name)
	}
	return nil
}

func (x *extraction) file(e Entry, r io.Reader) error {
	f, err := x.root.OpenFile(e.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return exists(err)
	}
	err = copySparse(f, r, e.Size, x.buf, x.o.Room)
	if err == nil {
		err = x.dress(f, e, e.Mode)
	}
	if err == nil {
		err = setTime(f, e.ModTime)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// setTime sets the times of an open file or folder, to the second as an archive has
// them.
func setTime(f *os.File, at time.Time) error {
	t := unix.Timeval{Sec: at.Unix()}
	return os.NewSyscallError("futimes", unix.Futimes(int(f.Fd()), []unix.Timeval{t, t}))
}

// dress gives an open file or folder its attributes.
func (x *extraction) dress(f *os.File, e Entry, mode fs.FileMode) error {
	if x.o.Owner { // first, because it clears setuid
		if err := f.Chown(e.UID, e.GID); err != nil {
			return err
		}
	}
	for k, v := range e.Xattrs {
		if err := unix.Fsetxattr(int(f.Fd()), k, []byte(v), 0); err != nil {
			return fmt.Errorf("set attribute %s: %w", k, err)
		}
	}
	return f.Chmod(mode)
}

func exists(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: the same name twice", ErrCorrupt)
	}
	return err
}
