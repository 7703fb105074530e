package project

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dev/holdfast/archive"
)

// ownPrefix begins the names of folders in which a restore builds and keeps.
const ownPrefix = ".holdfast-"

// isOwn reports whether a name below the root of a part belongs to a restore: of this
// part, or of one whose folder lies below.
func isOwn(part, name string) bool { return archive.Reserved(path.Join(part, name)) }

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
	at   Place
	t    Target

	// moves lists what a swap takes away and what it brings, as names below the root.
	// built is the folder of the new things.
	moves func(root, built *os.File) (out, in []string, err error)
	// finish, unless nil, completes what was built. Nobody else can reach it by then.
	finish func(ctx context.Context, built *os.File) error
	// skip, unless nil, says that an entry does not come back.
	skip func(root *os.File, entry string) bool
	// replaced, unless "", is a folder below the root that must be no link.
	replaced string
	// xattrs must be supported by the file system.
	xattrs bool

	withheld []string // entries that came back without a bit of their mode or an attribute
	count    int      // of them
}

// name returns the name of a folder of this restore.
func (f *folder) name(what string) string { return ownPrefix + what + "-" + f.t.ID }

// dir returns the path of a folder of this restore, for people.
func (f *folder) dir(what string) string { return filepath.Join(f.at.Path, f.name(what)) }

// step is called before each change of a swap.
func (f *folder) step(what string) error {
	if f.t.step == nil {
		return nil
	}
	return f.t.step(what)
}

// open opens the root.
func (f *folder) open() (*os.File, error) { return f.explain(f.at.openDir()) }

// explain makes a sentence of an error.
func (f *folder) explain(root *os.File, err error) (*os.File, error) {
	switch {
	case errors.Is(err, ErrOutside):
		err = fail(err, "%s", outsideSentence(f.part))
	case errors.Is(err, fs.ErrPermission):
		err = fail(err, "The folder of the part %s cannot be opened by this user.", f.part)
	}
	return root, err
}

// Check implements [Restoration].
func (f *folder) Check(context.Context) ([]Check, error) {
	write := Check{Name: f.part + "_folder"}
	dir, err := f.explain(f.at.nearestDir())
	if err != nil {
		write.Problem = Sentence(err)
		return []Check{write}, nil
	}
	defer dir.Close() //nolint:errcheck // opened for reading
	space := Check{Needs: []Need{{Part: f.part, At: f.at.Path, Bytes: room(f.t.Source), MinFree: f.t.MinFree, disk: diskOf(dir)}}}
	if write.Problem, err = f.probe(dir); err != nil {
		return nil, err
	}
	if f.linked() {
		write.Problem = "The folder " + f.replaced + " of the part " + f.part + " is or lies behind a symbolic link, and a restore never goes through one; set the part's path to where it leads."
	}
	return []Check{space, write}, nil
}

// probe makes a file in a folder, removes it again, and returns what is wrong with it.
func (f *folder) probe(dir *os.File) (problem string, err error) {
	name := ownPrefix + "check-" + f.t.ID
	_ = unix.Unlinkat(int(dir.Fd()), name, 0) // of a check that was cut off
	file, err := createBeneath(dir, name)
	if err != nil {
		return "The folder of the part " + f.part + " cannot be written to by this user.", nil
	}
	defer file.Close() //nolint:errcheck // nothing is pending
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return "", err
	}
	if f.xattrs && unix.Fsetxattr(int(file.Fd()), "user.holdfast", []byte("x"), 0) != nil {
		problem = "The file system of the part " + f.part + " has no extended attributes, which keep the types of the files."
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0 {
		problem = "The file system of the part " + f.part + " does not keep the owners and modes of files, so others could change what a restore builds there."
	}
	return problem, unix.Unlinkat(int(dir.Fd()), name, 0)
}

// linked reports whether the folder that is replaced is a link, or lies behind one.
func (f *folder) linked() bool {
	r, err := f.at.openDir()
	if err != nil {
		return false // it is not there yet
	}
	defer r.Close() //nolint:errcheck // opened for reading
	for name := f.replaced; name != "" && name != "."; name = path.Dir(name) {
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
	root, err := f.explain(f.at.makeDir())
	if err != nil {
		return fail(err, "The folder of the part %s cannot be made or opened.", f.part)
	}
	defer root.Close() //nolint:errcheck // opened for reading
	staging, err := makePrivateDir(root, f.name("new"))
	if err != nil {
		return fail(err, "The folder of the part %s cannot be written to.", f.part)
	}
	defer staging.Close() //nolint:errcheck // opened for reading
	if err := f.extract(ctx, root, staging, r); err != nil {
		return err
	}
	f.warnWithheld()
	if f.finish == nil {
		return nil
	}
	built, err := openBeneath(staging, f.part, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer built.Close() //nolint:errcheck // opened for reading
	return f.finish(ctx, built)
}

// extract writes the part below a folder that nobody else can enter.
func (f *folder) extract(ctx context.Context, live, staging *os.File, r *archive.Reader) error {
	root, err := rootOf(staging)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // nothing is pending
	skip := func(entry string) bool { return f.skip != nil && f.skip(live, entry) }
	guard := roomGuard{dir: staging, minFree: f.t.MinFree}
	err = archive.Extract(ctx, root, r, archive.ExtractOptions{MaxBytes: f.t.Source.Bytes, MaxEntries: f.t.Source.Entries, Owner: os.Getuid() == 0, Room: guard.take, Skip: skip, Privileged: f.t.PrivilegedModes, Withheld: f.withhold})
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		entry, _ := errors.AsType[*archive.EntryError](err)
		return f.fullDisk(entry, err)
	case errors.Is(err, unix.ENOTSUP):
		return fail(err, "The file system of the part %s has no extended attributes, which keep the types of the files.", f.part)
	}
	return err
}

// withhold notes an entry that came back without something.
func (f *folder) withhold(entry string) {
	if f.count++; len(f.withheld) < maxNamed && f.part != Storage {
		f.withheld = append(f.withheld, strings.TrimPrefix(entry, f.part+"/"))
	}
}

// warnWithheld says which entries those were.
func (f *folder) warnWithheld() {
	if f.count == 0 {
		return
	}
	named := ""
	if len(f.withheld) > 0 {
		named = " (" + someOf(f.withheld, f.count) + ")"
	}
	f.t.warn(f.part, "privileges_withheld", "", fmt.Sprintf("%d files or folders of the part %s%s came back without their setuid or setgid bits, or without attributes that are none of the user's. restore.privileged_modes lets the bits come back.", f.count, f.part, named))
}

// children lists what lies in a folder, apart from what restores made.
func children(dir *os.File) (out []string, err error) {
	err = walkBeneath(dir, ".", func(name string, _ fs.DirEntry) error {
		if !strings.HasPrefix(name, ownPrefix) {
			out = append(out, name)
		}
		return fs.SkipDir
	})
	slices.Sort(out)
	return out, err
}

// countFiles counts the files and links below a folder.
func countFiles(dir *os.File) (n int, err error) {
	err = walkBeneath(dir, ".", func(_ string, e fs.DirEntry) error {
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
