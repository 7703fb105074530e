package supabase

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// overlay is a tree of links below top that looks like the file system, but has the
// files in built in the place of those of root. Files that the compose files name
// relative to their folder, even above it, are found.
type overlay struct{ top, root, built string }

// at returns the place of a path in the tree.
func (o overlay) at(path string) string { return filepath.Join(o.top, path) }

// plainly takes the tree out of a sentence.
func (o overlay) plainly(sentence string) string { return strings.ReplaceAll(sentence, o.top, "") }

// scope returns the scope of a project whose folder is seen through the tree: what is
// built belongs to it.
func (o overlay) scope(s scope) scope {
	s.seen = o.at(s.folder)
	s.allowed = append(slices.Clone(s.allowed), o.built, s.seen)
	return s
}

// envFile returns the file of variables that an option names.
func (o overlay) envFile(folder, name string) string {
	if rel, err := filepath.Rel(folder, name); filepath.IsAbs(name) && err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return name
}

// ancestors makes the folders above a folder, with links to what else lies there.
func (o overlay) ancestors(folder string) error {
	for dir := folder; dir != "/"; dir = filepath.Dir(dir) {
		above := filepath.Dir(dir)
		if err := os.MkdirAll(o.at(dir), 0o700); err != nil {
			return err
		}
		entries, _ := os.ReadDir(above) // a folder may be closed to this user
		for _, e := range entries {
			if e.Name() == filepath.Base(dir) {
				continue
			}
			if err := o.link(filepath.Join(above, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// merge fills a folder of the tree: with what is built, else with what is there.
func (o overlay) merge(dir string) error {
	if err := os.MkdirAll(o.at(dir), 0o700); err != nil {
		return err
	}
	built := o.builtDir(dir)
	fresh, err := os.ReadDir(built)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range fresh {
		name := filepath.Join(dir, e.Name())
		if e.IsDir() {
			err = o.merge(name)
		} else {
			err = o.linkTo(filepath.Join(built, e.Name()), name)
		}
		if err != nil {
			return err
		}
	}
	there, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range there {
		name := filepath.Join(dir, e.Name())
		if e.IsDir() && within(o.root, name) { // what is built lies deeper
			err = o.merge(name)
		} else {
			err = o.link(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// builtDir returns the folder with what takes the place of what is in dir.
func (o overlay) builtDir(dir string) string {
	rel, err := filepath.Rel(o.root, dir)
	if err != nil || !filepath.IsLocal(rel) {
		return filepath.Join(o.built, ".none") // nothing does
	}
	return filepath.Join(o.built, rel)
}

func (o overlay) link(name string) error { return o.linkTo(name, name) }

// linkTo lets a name in the tree lead to a file or folder, unless it leads somewhere
// already. A relative link is copied, so that it leads to what is built.
func (o overlay) linkTo(target, name string) error {
	if text, err := os.Readlink(target); err == nil && !filepath.IsAbs(text) {
		target = text
	}
	err := os.Symlink(target, o.at(name))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// filesIn returns the names of the files in built from which the model takes variables
// and secrets.
func (m *model) filesIn(built string) (names []string, err error) {
	if built, err = filepath.EvalSymlinks(built); err != nil {
		return nil, err
	}
	files := m.deployment()
	for _, s := range m.project.Secrets {
		if s.File != "" {
			files = append(files, s.File)
		}
	}
	for _, f := range files {
		resolved, err := filepath.EvalSymlinks(f)
		if err != nil || slices.Contains(m.files, f) {
			continue // an env_file need not be there
		}
		if rel, err := filepath.Rel(built, resolved); err == nil && filepath.IsLocal(rel) && !slices.Contains(names, rel) {
			names = append(names, rel)
		}
	}
	return names, nil
}
