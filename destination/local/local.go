// Package local keeps archives in a folder of the file system.
//
// An object is written into a hidden file, synced, read back, and only then
// linked to its name, which fails if the name is taken. What a crash leaves is a
// hidden file, which the next [Open] removes.
package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/holdfast-dev/holdfast/destination"
)

// Config says where and how much.
type Config struct {
	Path    string // of the folder; made with mode 0700 if it is missing
	MinFree int64  // bytes that Put leaves free on the file system
	Mark    string // is put on every object, as an extended attribute, where the file system has such
}

// Store is a [destination.Store] in a folder.
type Store struct {
	root    *os.Root
	path    string
	minFree int64
	mark    string
}

// hidden begins the names of files that are being written.
const hidden = ".holdfast-"

// Open opens the folder and removes what crashed writers have left there. The
// caller must call [Store.Close].
func Open(c Config) (*Store, error) {
	abs, err := filepath.Abs(c.Path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, explain("folder", abs, err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, explain("folder", abs, err)
	}
	s := &Store{root: root, path: abs, minFree: c.MinFree, mark: c.Mark}
	if err := s.sweep(); err != nil {
		_ = root.Close() // the first error says more
		return nil, explain("folder", abs, err)
	}
	return s, nil
}

// Close lets go of the folder.
func (s *Store) Close() error { return s.root.Close() }

// sweep removes hidden files that no process holds a lock on.
func (s *Store) sweep() error {
	return fs.WalkDir(s.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			if name != "." && (errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist)) {
				return fs.SkipDir // somebody else's
			}
			return err
		}
		if d.IsDir() || !strings.HasPrefix(d.Name(), hidden) {
			return nil
		}
		f, err := s.root.Open(name)
		if err != nil {
			return nil
		}
		defer f.Close() //nolint:errcheck // opened for reading
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			return nil // being written
		}
		return s.root.Remove(name)
	})
}

// Put implements [destination.Store].
func (s *Store) Put(ctx context.Context, key string, r io.Reader, e destination.Estimate) (destination.Info, error) {
	info, err := s.put(ctx, key, r, e)
	if err != nil {
		return destination.Info{}, explain("put", key, err)
	}
	return info, nil
}

func (s *Store) put(ctx context.Context, key string, r io.Reader, e destination.Estimate) (destination.Info, error) {
	if err := destination.CheckKey(key); err != nil {
		return destination.Info{}, err
	}
	if _, err := s.root.Lstat(key); err == nil {
		return destination.Info{}, destination.ErrExist // before hours of work
	}
	if int64(e) > maxFile {
		return destination.Info{}, fmt.Errorf("%w: about %d GiB are expected", destination.ErrTooLarge, e>>30)
	}
	if err := s.present(); err != nil {
		return destination.Info{}, err
	}
	if err := s.room(); err != nil {
		return destination.Info{}, err
	}
	if err := s.root.MkdirAll(path.Dir(key), 0o700); err != nil {
		return destination.Info{}, err
	}
	tmp := path.Join(path.Dir(key), hidden+uuid.NewString())
	f, err := s.root.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return destination.Info{}, err
	}
	defer f.Close()          //nolint:errcheck // synced before
	defer s.root.Remove(tmp) //nolint:errcheck // the link stays; what stays otherwise is swept
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return destination.Info{}, err
	}
	g := &guarded{ctx: ctx, s: s, f: f, sum: sha256.New()}
	if _, err := io.CopyBuffer(g, onlyReader{r}, make([]byte, 256<<10)); err != nil {
		return destination.Info{}, err
	}
	if err := f.Sync(); err != nil {
		return destination.Info{}, err
	}
	if err := g.readBack(); err != nil {
		return destination.Info{}, err
	}
	if err := unix.Fsetxattr(int(f.Fd()), markAttr, []byte(s.mark), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
		return destination.Info{}, err
	}
	if err := s.root.Link(tmp, key); err != nil {
		return destination.Info{}, err
	}
	if err := s.syncDirs(key); err != nil {
		return destination.Info{}, err
	}
	return destination.Info{Key: key, Path: s.show(key), Size: g.size, SHA256: hex.EncodeToString(g.sum.Sum(nil)), Mark: s.mark}, nil
}

type onlyReader struct{ io.Reader } // keeps io.CopyBuffer from choosing its own buffer

// guarded writes to f, notes the sums of what it writes and looks at the free
// space every few mebibytes.
type guarded struct {
	ctx  context.Context //nolint:containedctx // lives for one Put
	s    *Store
	f    *os.File
	size int64     // written so far
	sum  hash.Hash // SHA-256
	crc  uint32    // CRC-32C, which costs next to nothing to compute again
	seen int64     // size at the last look
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maxFile is the limit of ext4 with its usual blocks of 4 KiB; other file systems
// have higher ones.
const maxFile = 16 << 40

// lookEvery is how many bytes are written between two looks at the free space.
const lookEvery = 4 << 20

func (g *guarded) Write(p []byte) (int, error) {
	if err := g.ctx.Err(); err != nil {
		return 0, err
	}
	if g.size-g.seen >= lookEvery {
		if err := g.s.room(); err != nil {
			return 0, err
		}
		// Lets the disk begin now, so that there is little left to sync at the end.
		_ = unix.SyncFileRange(int(g.f.Fd()), g.seen, g.size-g.seen, unix.SYNC_FILE_RANGE_WRITE) // not every file system can
		g.seen = g.size
	}
	n, err := g.f.Write(p)
	g.sum.Write(p[:n])
	g.crc = crc32.Update(g.crc, castagnoli, p[:n])
	g.size += int64(n)
	return n, err
}

// readBack compares what the file system returns with what was written.
func (g *guarded) readBack() error {
	if _, err := g.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	back := crc32.New(castagnoli)
	n, err := io.CopyBuffer(back, onlyReader{g.f}, make([]byte, 256<<10))
	if err != nil {
		return err
	}
	if n != g.size || back.Sum32() != g.crc {
		return fmt.Errorf("%w: check the disk", destination.ErrCorrupt)
	}
	return nil
}

// syncDirs makes the names from the object up to the root survive a power cut.
func (s *Store) syncDirs(key string) error {
	for dir := path.Dir(key); ; dir = path.Dir(dir) {
		d, err := s.root.Open(dir)
		if err != nil {
			return err
		}
		err = d.Sync()
		if cerr := d.Close(); err == nil {
			err = cerr
		}
		if err != nil || dir == "." {
			return err
		}
	}
}

// Open implements [destination.Store].
func (s *Store) Open(_ context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := destination.CheckKey(key); err != nil {
		return nil, err
	}
	f, err := s.root.Open(key)
	if err != nil {
		return nil, explain("open", key, err)
	}
	if length < 0 {
		length = 1<<63 - 1 - offset
	}
	return section{io.NewSectionReader(f, offset, length), f}, nil
}

type section struct {
	io.Reader
	io.Closer
}

// Stat implements [destination.Store]. It does not know the checksum.
func (s *Store) Stat(_ context.Context, key string) (destination.Info, error) {
	if err := destination.CheckKey(key); err != nil {
		return destination.Info{}, err
	}
	fi, err := s.root.Lstat(key)
	if err == nil && !fi.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return destination.Info{}, explain("stat", key, err)
	}
	info := s.info(key, fi)
	info.Mark = s.markOf(key)
	return info, nil
}

// markAttr is the extended attribute that holds the mark of an object.
const markAttr = "user.holdfast.mark"

// markOf returns the mark of an object, or "" where it has none.
func (s *Store) markOf(key string) string {
	f, err := s.root.Open(key)
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // opened for reading
	b := make([]byte, 256)
	n, err := unix.Fgetxattr(int(f.Fd()), markAttr, b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

func (s *Store) info(key string, fi fs.FileInfo) destination.Info {
	return destination.Info{Key: key, Path: s.show(key), Size: fi.Size(), ModTime: fi.ModTime()}
}

func (s *Store) show(key string) string { return filepath.Join(s.path, filepath.FromSlash(key)) }

// List implements [destination.Store].
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[destination.Info, error] {
	return func(yield func(destination.Info, error) bool) {
		_, err := s.walk(ctx, path.Dir(prefix+"x"), prefix, yield)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			yield(destination.Info{}, explain("list", prefix, err))
		}
	}
}

// walk yields the objects in a folder, in the order of their keys. It returns
// false when yield has.
func (s *Store) walk(ctx context.Context, dir, prefix string, yield func(destination.Info, error) bool) (more bool, err error) {
	entries, err := fs.ReadDir(s.root.FS(), dir)
	if err != nil {
		return true, err
	}
	name := func(d fs.DirEntry) string { // as it stands in keys: a/x comes behind a-b
		if d.IsDir() {
			return d.Name() + "/"
		}
		return d.Name()
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(name(a), name(b)) })
	for _, d := range entries {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		key := path.Join(dir, d.Name())
		switch {
		case destination.CheckKey(key) != nil:
		case d.IsDir() && (strings.HasPrefix(key+"/", prefix) || strings.HasPrefix(prefix, key+"/")):
			more, err = s.walk(ctx, key, prefix, yield)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) { // removed meanwhile, or somebody else's
				err = nil
			}
			if !more || err != nil {
				return more, err
			}
		case d.Type().IsRegular() && strings.HasPrefix(key, prefix):
			fi, err := d.Info()
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return true, err
			}
			if err == nil && !yield(s.info(key, fi), nil) {
				return false, nil
			}
		}
	}
	return true, nil
}

// Delete implements [destination.Store].
func (s *Store) Delete(_ context.Context, key string) error {
	if err := destination.CheckKey(key); err != nil {
		return err
	}
	if err := s.root.Remove(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return explain("delete", key, err)
	}
	return nil
}

// explain translates errors of the system.
func explain(op, object string, err error) error {
	if own, ok := errors.AsType[*destination.Error](err); ok {
		own.Op, own.Key = op, object
		return own
	}
	for _, own := range []error{destination.ErrExist, destination.ErrKey, destination.ErrNoSpace, destination.ErrTooLarge, destination.ErrCorrupt} {
		if errors.Is(err, own) {
			return &destination.Error{Op: op, Key: object, Kind: own, Err: err}
		}
	}
	for sys, kind := range map[error]error{
		fs.ErrExist: destination.ErrExist, fs.ErrNotExist: destination.ErrNotExist, fs.ErrPermission: destination.ErrDenied,
		syscall.ENOSPC: destination.ErrNoSpace, syscall.EDQUOT: destination.ErrNoSpace, syscall.EROFS: destination.ErrDenied,
	} {
		if errors.Is(err, sys) {
			return &destination.Error{Op: op, Key: object, Kind: kind, Err: err}
		}
	}
	return &destination.Error{Op: op, Key: object, Err: err}
}

// WithMark implements [destination.Marker].
func (s *Store) WithMark(mark string) destination.Store {
	marked := *s
	marked.mark = mark
	return &marked
}
