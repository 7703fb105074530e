package project

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dev/holdfast/archive"
)

// ownPrefix begins the names of folders in which a restore builds and keeps.
const ownPrefix = ".holdfast-"

// ownFolder matches the names of folders in which a restore builds and keeps.
var ownFolder = regexp.MustCompile(`^\.holdfast-(new|old|undone)-[a-z0-9]{1,10}$`)

// isOwn reports whether a name below the root of a part belongs to a restore: of this
// part, or of one whose folder lies below.
func isOwn(name string) bool {
	return strings.HasPrefix(name, ownPrefix) || slices.ContainsFunc(strings.Split(name, "/"), ownFolder.MatchString)
}

// folder is how the files of a part come back. They are built in a hidden folder
// inside of their root, since that is sure to lie on the same mount, and the root
// itself, which a container may have mounted, cannot be renamed. What is replaced
// goes to another hidden folder.
//
// A swap has two halves. First the old things go out, then the new ones go in. Each
// step is one rename, and a [swapRecord] says which of them were made, so that a swap
// that was cut off goes on, or back, from where it was.
type folder struct {
	part string
	root string
	t    Target

	// moves lists what a swap takes away and what it brings, as names below the root.
	// built is the folder of the new things.
	moves func(root *os.File, built string) (out, in []string, err error)
	// finish, unless nil, completes what was built.
	finish func(ctx context.Context, built string) error
	// skip, unless nil, says that an entry does not come back.
	skip func(name string) bool
	// replaced, unless "", is a folder below the root that must be no link.
	replaced string
	// xattrs must be supported by the file system.
	xattrs bool

	ownSeen bool
}

// name returns the name of a folder of this restore.
func (f *folder) name(what string) string { return ownPrefix + what + "-" + f.t.ID }

func (f *folder) dir(what string) string { return filepath.Join(f.root, f.name(what)) }

// step is called before each change of a swap.
func (f *folder) step(what string) error {
	if f.t.step == nil {
		return nil
	}
	return f.t.step(what)
}

// Check implements [Restoration].
func (f *folder) Check(context.Context) ([]Check, error) {
	space := Check{Needs: []Need{{Part: f.part, At: f.root, Bytes: room(f.t.Source), MinFree: f.t.MinFree}}}
	write := Check{Name: f.part + "_folder"}
	probe := f.root
	for !exists(probe) && probe != filepath.Dir(probe) {
		probe = filepath.Dir(probe)
	}
	file, err := os.CreateTemp(probe, ownPrefix+"check")
	if err != nil {
		write.Problem = "The folder of the part " + f.part + " cannot be written to by this user."
		return []Check{space, write}, nil
	}
	defer os.Remove(file.Name()) //nolint:errcheck // a hidden file
	if f.xattrs {
		if err := unix.Fsetxattr(int(file.Fd()), "user.holdfast", []byte("x"), 0); err != nil {
			write.Problem = "The file system of the part " + f.part + " has no extended attributes, which keep the types of the files."
		}
	}
	if linked(f.root, f.replaced) {
		write.Problem = "The folder " + f.replaced + " of the part " + f.part + " is or lies behind a symbolic link, and a restore never goes through one; set the part's path to where it leads."
	}
	return []Check{space, write}, file.Close()
}

// linked reports whether a folder below the root is a link, or lies behind one.
func linked(root, name string) bool {
	r, err := openRoot(root)
	if err != nil {
		return false // it is not there yet
	}
	defer r.Close() //nolint:errcheck // opened for reading
	for ; name != "" && name != "."; name = path.Dir(name) {
		if st, err := statBeneath(r, name); err == nil && st != nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
			return true
		}
	}
	return false
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// Build implements [Restoration].
func (f *folder) Build(ctx context.Context, r *archive.Reader) error {
	if exists(f.t.recordFile(f.part)) {
		return fail(nil, "The part %s was swapped by this restore before.", f.part)
	}
	if err := f.Discard(ctx); err != nil {
		return err
	}
	staging := f.dir("new")
	if err := os.MkdirAll(staging, 0o755); err != nil { //nolint:gosec // as the folders of the project
		return fail(err, "The folder of the part %s cannot be written to.", f.part)
	}
	root, err := os.OpenRoot(staging)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // nothing is pending
	guard := roomGuard{at: f.root, minFree: f.t.MinFree}
	err = archive.Extract(ctx, root, r, archive.ExtractOptions{MaxBytes: f.t.Source.Bytes, MaxEntries: f.t.Source.Entries, Owner: os.Getuid() == 0, Room: guard.take, Skip: f.skips})
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		entry, _ := errors.AsType[*archive.EntryError](err)
		return f.fullDisk(entry, err)
	case errors.Is(err, unix.ENOTSUP):
		return fail(err, "The file system of the part %s has no extended attributes, which keep the types of the files.", f.part)
	case err != nil:
		return err
	}
	if f.finish != nil {
		return f.finish(ctx, filepath.Join(staging, f.part))
	}
	return nil
}

// skips reports whether an entry does not come back. A name of ours would be taken for
// what a restore keeps. Below the top, storage objects may have any name.
func (f *folder) skips(entry string) bool {
	name := strings.TrimPrefix(entry, f.part+"/")
	if strings.HasPrefix(name, ownPrefix) || f.part != Storage && isOwn(name) {
		if !f.ownSeen {
			f.ownSeen = true
			f.t.warn(f.part, "own_names", "", "The backup of the part "+f.part+" holds folders of Holdfast itself, which were not restored.")
		}
		return true
	}
	return f.skip != nil && f.skip(entry)
}

// children lists what lies in a folder, apart from what restores made.
func children(root *os.File, dir string) (out []string, err error) {
	err = walkBeneath(root, dir, func(name string, _ fs.DirEntry) error {
		if base := path.Base(name); !strings.HasPrefix(base, ownPrefix) {
			out = append(out, base)
		}
		return fs.SkipDir
	})
	slices.Sort(out)
	return out, err
}

// countFiles counts the files and links below a folder.
func countFiles(dir string) (n int, err error) {
	root, err := openRoot(dir)
	if gone(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer root.Close() //nolint:errcheck // opened for reading
	err = walkBeneath(root, ".", func(_ string, e fs.DirEntry) error {
		if !e.IsDir() {
			n++
		}
		return nil
	})
	return n, err
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
