package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// ExtractOptions bound and shape an extraction.
type ExtractOptions struct {
	MaxBytes   int64 // of content; required
	MaxEntries int64 // required
	Owner      bool  // set the numeric owner of every entry; needs root

	// Skip, unless nil, chooses entries that are verified and not written.
	Skip func(name string) bool
}

// Extract writes the rest of r below root, which should be empty, and returns
// when everything is verified. Nothing is ever written outside root, whatever
// the archive says. It stops soon after ctx ends. After an error what lies in root
// must not be used.
func Extract(ctx context.Context, root *os.Root, r *Reader, o ExtractOptions) error {
	x := extraction{root: root, o: o, dirs: map[string]bool{".": true}}
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return x.seal()
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
		if err := x.write(e, r); err != nil {
			return fmt.Errorf("extract %s: %w", e.Name, err)
		}
	}
}

type extraction struct {
	root   *os.Root
	o      ExtractOptions
	dirs   map[string]bool // known to be real folders; forgotten when it grows
	sealed []Entry         // folders that get their mode last, because it forbids writing
}

// maxKnown bounds the memory of an extraction.
const maxKnown = 10_000

func (x *extraction) write(e Entry, r io.Reader) error {
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
		if x.o.Owner {
			return x.root.Lchown(e.Name, e.UID, e.GID)
		}
		return nil
	case File:
	}
	return x.file(e, r)
}

// folder makes sure that name is a real folder below root, and no link to one.
func (x *extraction) folder(name string) error {
	if x.dirs[name] {
		return nil
	}
	if err := x.folder(path.Dir(name)); err != nil {
		return err
	}
	if err := x.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	fi, err := x.root.Lstat(name)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%w: %q is not a folder, yet it has entries", ErrUnsafe, name)
	}
	if len(x.dirs) > maxKnown {
		x.dirs = map[string]bool{".": true}
	}
	x.dirs[name] = true
	return nil
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
	mode := e.Mode
	if mode&0o300 != 0o300 {
		if len(x.sealed) == maxKnown {
			return fmt.Errorf("%w: folders without permission to write", ErrLimit)
		}
		x.sealed, mode = append(x.sealed, e), mode|0o700
	}
	return x.dress(f, e, mode)
}

// seal gives the folders that forbid writing their mode.
func (x *extraction) seal() error {
	for _, v := range slices.Backward(x.sealed) { // the inner ones first
		if err := x.root.Chmod(v.Name, v.Mode); err != nil {
			return err
		}
	}
	return nil
}

func (x *extraction) file(e Entry, r io.Reader) error {
	f, err := x.root.OpenFile(e.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return exists(err)
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = x.dress(f, e, e.Mode)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return x.root.Chtimes(e.Name, e.ModTime, e.ModTime)
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
