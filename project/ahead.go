package project

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dev/holdfast/archive"
)

// ahead reads things of a tree side by side before they are written one after
// another, since most of the time of small files is spent on finding them. Its
// memory is bounded: what is larger than a buffer is only opened.
type ahead struct {
	work  chan *thing
	line  []*thing // not written yet, oldest first
	spare []*thing
	wg    sync.WaitGroup
}

const (
	readers  = 8
	maxAhead = 64       // things at a time
	maxSmall = 64 << 10 // bytes of a file that is read whole
)

// thing is a file, folder or link that is to be written.
type thing struct {
	// The first of these names that is there is taken; if objects is set, the
	// first that is a file.
	names   []string
	objects bool
	// found, unless nil, is called with the name just before it is written,
	// missing, unless nil, instead of a warning when none is there.
	found   func(name string) error
	missing func() error

	ready   chan struct{} // gets a value when what follows is set
	name    string        // the one that is there, or "" if none is
	entry   archive.Entry
	trimmed []string // attributes that no archive can hold
	small   []byte   // content of a small file, perhaps shorter than its size
	file    *os.File // a larger one, open
	err     error
	buf     []byte
}

func (a *ahead) start(t *tree) {
	a.work = make(chan *thing, maxAhead)
	for range maxAhead {
		a.spare = append(a.spare, &thing{ready: make(chan struct{}, 1)})
	}
	for range readers {
		a.wg.Go(func() {
			for x := range a.work {
				x.err = t.prepare(x)
				x.ready <- struct{}{}
			}
		})
	}
}

func (a *ahead) stop() {
	close(a.work)
	a.wg.Wait()
	for _, x := range a.line {
		x.close()
	}
}

func (x *thing) close() {
	if x.file != nil {
		_ = x.file.Close() // opened for reading
		x.file = nil
	}
}

// add writes, some time before flush returns, what lies at name. What is not
// there any more is a warning; what cannot be read is an error.
func (t *tree) add(name string) error {
	return t.submit(thing{names: []string{name}})
}

// submit is add for things that are more than a name.
func (t *tree) submit(want thing) error {
	a := &t.ahead
	if len(a.spare) == 0 {
		if err := t.writeOldest(); err != nil {
			return err
		}
	}
	x := a.spare[len(a.spare)-1]
	a.spare = a.spare[:len(a.spare)-1]
	x.names, x.objects, x.found, x.missing = want.names, want.objects, want.found, want.missing
	a.line = append(a.line, x)
	a.work <- x
	return nil
}

// flush writes everything that was added.
func (t *tree) flush(ctx context.Context) error {
	for len(t.ahead.line) > 0 {
		if err := errors.Join(ctx.Err(), t.writeOldest()); err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) writeOldest() error {
	a := &t.ahead
	x := a.line[0]
	a.line = a.line[1:]
	<-x.ready
	err := t.write(x)
	x.close()
	a.spare = append(a.spare, x)
	return err
}

// prepare finds and reads a thing. It runs on any goroutine.
func (t *tree) prepare(x *thing) error {
	x.name, x.small, x.trimmed = "", nil, nil
	for _, name := range x.names {
		var st unix.Stat_t
		err := unix.Fstatat(int(t.root.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if x.objects && (errors.Is(err, unix.ENAMETOOLONG) || err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG) {
			err = unix.ENOENT
		}
		if gone(err) {
			continue
		}
		if x.name = name; err == nil {
			err = t.read(x, &st)
		}
		if gone(err) {
			x.name = ""
			continue
		}
		return err
	}
	return nil
}

// gone reports whether an error of the system says that something is not there.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// read takes in what st says is at x.name.
func (t *tree) read(x *thing, st *unix.Stat_t) error {
	x.entry = entryOf(t.part, x.name, st)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return t.readFile(x)
	case unix.S_IFDIR:
		return t.readDir(x)
	case unix.S_IFLNK:
		return t.readLink(x)
	}
	x.entry.Kind = ""
	return nil
}

func (t *tree) readFile(x *thing) error {
	f, err := t.open(x.name, unix.O_RDONLY)
	if err != nil {
		return err
	}
	x.file = f
	if x.entry, err = t.entry(x.name, f); err != nil {
		return err
	}
	x.entry.Kind, x.trimmed = archive.File, archive.TrimXattrs(x.entry.Xattrs)
	if x.entry.Size > maxSmall {
		_ = unix.Fadvise(int(f.Fd()), 0, 1<<20, unix.FADV_WILLNEED) // a hint
		return nil
	}
	if x.buf == nil {
		x.buf = make([]byte, maxSmall)
	}
	n, err := io.ReadFull(f, x.buf[:x.entry.Size])
	x.small = x.buf[:n]
	x.close()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // it became shorter; the archive will notice
	}
	return err
}

// readLink takes in a link. What st said may be of another one, behind a link that has
// taken the place of a folder.
func (t *tree) readLink(x *thing) error {
	f, err := t.open(x.name, unix.O_PATH)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing is pending
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return unix.ENOENT // what the backup has met is gone
	}
	b := make([]byte, 4097)
	n, err := unix.Readlinkat(int(f.Fd()), "", b)
	x.entry = entryOf(t.part, x.name, &st)
	x.entry.Kind, x.entry.Size, x.entry.Target = archive.Link, 0, string(b[:max(n, 0)])
	return err
}

func (t *tree) readDir(x *thing) error {
	f, err := t.open(x.name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	if x.entry, err = t.entry(x.name, f); err != nil {
		return err
	}
	x.entry.Kind, x.entry.Size, x.trimmed = archive.Dir, 0, archive.TrimXattrs(x.entry.Xattrs)
	return nil
}
