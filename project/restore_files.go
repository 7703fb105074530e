package project

import (
	"context"
	"encoding/json"
	"errors"
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

// folder is how the files of a part come back. They are built in a hidden folder
// inside of their root, since that is sure to lie on the same mount, and the root
// itself, which a container may have mounted, cannot be renamed. What is replaced
// goes to another hidden folder.
//
// A swap has two halves. First the old things go out; then the folder with the new
// ones gets another name, which says so; then those go in. Each step is one rename,
// so that a swap that was cut off is seen for what it is.
type folder struct {
	part string
	root string
	t    Target

	// moves lists what a swap takes away and what it brings; both relative to the
	// root. built is the folder of the new things.
	moves func(built string) (out, in []string, err error)
	// finish, unless nil, completes what was built.
	finish func(ctx context.Context, built string) error
	// skip, unless nil, says that an entry does not come back.
	skip func(name string) bool
	// xattrs must be supported by the file system.
	xattrs bool
}

func (f *folder) dir(what string) string {
	return filepath.Join(f.root, ownPrefix+what+"-"+f.t.ID)
}

// Check implements [Restoration].
func (f *folder) Check(context.Context) ([]Check, error) {
	space := Check{Name: f.part + "_space", Problem: shortOf(f.root, f.t.Source.Bytes)}
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
	return []Check{space, write}, file.Close()
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// Build implements [Restoration].
func (f *folder) Build(ctx context.Context, r *archive.Reader) error {
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
	err = archive.Extract(ctx, root, r, archive.ExtractOptions{MaxBytes: f.t.Source.Bytes, MaxEntries: f.t.Source.Entries, Owner: os.Getuid() == 0, Skip: f.skip})
	switch {
	case errors.Is(err, unix.ENOSPC):
		return fail(err, "The disk of the part %s is full.", f.part)
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

// Discard implements [Restoration].
func (f *folder) Discard(context.Context) error { return os.RemoveAll(f.dir("new")) }

// moved is what a swap takes away and brings. It lies among what is kept.
type moved struct {
	Out []string `json:"out"` // names below the root
	In  []string `json:"in"`
}

const movedFile = ownPrefix + "moved.json"

func loadMoved(dir string) (m moved, err error) {
	b, err := os.ReadFile(filepath.Join(dir, movedFile))
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(b, &m)
}

// Swap implements [Restoration].
func (f *folder) Swap(context.Context) error {
	fresh, ready, old := f.dir("new"), f.dir("ready"), f.dir("old")
	if exists(fresh) {
		m, err := f.plan(filepath.Join(fresh, f.part), old)
		if err == nil {
			err = moveAll(f.root, old, m.Out)
		}
		if err == nil {
			err = os.Rename(fresh, ready)
		}
		if err != nil {
			return fail(err, "The old files of the part %s could not be moved away.", f.part)
		}
	}
	if !exists(ready) {
		return nil
	}
	m, err := loadMoved(old)
	if err == nil {
		err = moveAll(filepath.Join(ready, f.part), f.root, m.In)
	}
	if err != nil {
		return fail(err, "The new files of the part %s could not be moved to their place.", f.part)
	}
	return errors.Join(os.RemoveAll(ready), syncDir(f.root))
}

// plan decides what moves, once: half-way through it could not be seen any more.
func (f *folder) plan(built, old string) (moved, error) {
	m, err := loadMoved(old)
	if !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	if m.Out, m.In, err = f.moves(built); err != nil {
		return m, err
	}
	b, err := json.Marshal(m)
	if err != nil {
		return m, err
	}
	tmp := filepath.Join(old, movedFile+".new")
	return m, errors.Join(os.MkdirAll(old, 0o700), os.WriteFile(tmp, b, 0o600), os.Rename(tmp, filepath.Join(old, movedFile)))
}

// Undo implements [Kept].
func (f *folder) Undo(context.Context) error {
	fresh, ready, old, back := f.dir("new"), f.dir("ready"), f.dir("old"), f.dir("back")
	if exists(old) {
		m, err := loadMoved(old)
		if err == nil && !exists(fresh) { // else none of the new things has come in yet
			err = moveAll(f.root, f.dir("undone"), m.In)
		}
		if err == nil {
			err = os.Rename(old, back)
		}
		if err != nil {
			return fail(err, "The restored files of the part %s could not be moved away.", f.part)
		}
	}
	if !exists(back) {
		return nil
	}
	m, err := loadMoved(back)
	if err == nil {
		err = moveAll(back, f.root, m.Out)
	}
	if err != nil {
		return fail(err, "The old files of the part %s could not be moved back.", f.part)
	}
	return errors.Join(os.RemoveAll(ready), os.RemoveAll(back), syncDir(f.root))
}

// Drop implements [Kept].
func (f *folder) Drop(context.Context) error {
	return errors.Join(os.RemoveAll(f.dir("old")), os.RemoveAll(f.dir("undone")))
}

// moveAll moves things from one folder into another on the same mount. What is not
// there was moved before.
func moveAll(from, to string, items []string) error {
	for _, item := range items {
		src, dst := filepath.Join(from, item), filepath.Join(to, item)
		if !exists(src) {
			continue
		}
		if err := likeDirs(from, to, path.Dir(item)); err != nil {
			return err
		}
		if err := os.Rename(src, dst); err != nil {
			return err
		}
	}
	return nil
}

// likeDirs makes the folders of a name in to, like those in from.
func likeDirs(from, to, name string) error {
	if name == "." {
		return os.MkdirAll(to, 0o700)
	}
	if exists(filepath.Join(to, name)) {
		return nil
	}
	if err := likeDirs(from, to, path.Dir(name)); err != nil {
		return err
	}
	fi, err := os.Stat(filepath.Join(from, name))
	if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(to, name), 0o700); err != nil {
		return err
	}
	return sameOwner(filepath.Join(to, name), fi)
}

// children lists what lies in a folder, apart from what restores made.
func children(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ownPrefix) {
			out = append(out, e.Name())
		}
	}
	return out, err
}

// files lists the files and links below a folder.
func files(dir string) (out []string, err error) {
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		out = append(out, rel)
		return err
	})
	slices.Sort(out)
	return out, err
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
