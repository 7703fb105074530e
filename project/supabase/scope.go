package supabase

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/holdfast-dev/holdfast/project"
)

// scope is where the files may lie that the files of a project name: in its folder,
// and where the operator's configuration allows it. Whoever may write to the folder
// must not make Holdfast, which is mostly root, read or write anything else.
type scope struct {
	folder  string
	seen    string   // the folder as the files are looked for; see [overlay]
	allowed []string // folders and files
}

// newScope returns the scope of a folder. Allowed paths are absolute or relative to it.
func newScope(folder string, allowed []string) scope {
	s := scope{folder: folder, seen: folder}
	for _, a := range allowed {
		if !filepath.IsAbs(a) {
			a = filepath.Join(folder, a)
		}
		s.allowed = append(s.allowed, filepath.Clean(a))
	}
	return s
}

func (s scope) roots() []string { return append([]string{s.folder}, s.allowed...) }

// everything reports whether the operator has allowed all paths.
func (s scope) everything() bool { return slices.Contains(s.allowed, "/") }

// outsideError says that the files of a project name a path that they may not.
type outsideError struct{ path, folder string }

// Error implements error.
func (e *outsideError) Error() string {
	return fmt.Sprintf("%s is outside of the folder %s, and whoever may write there could name any path", e.path, e.folder)
}

// place returns a path as a place that cannot lead out of the scope. The path need not
// be there.
func (s scope) place(path string) (project.Place, error) {
	resolved, err := resolveNearest(path)
	if err != nil {
		return project.Place{}, err
	}
	for _, root := range s.roots() {
		r, err := resolveNearest(root)
		switch {
		case err != nil:
		case r == resolved && isFile(r):
			return project.Place{Path: root}, nil // a file that the operator has named
		case within(resolved, r):
			return project.Place{Path: path, Within: root}, nil
		}
	}
	return project.Place{}, &outsideError{path: resolved, folder: s.folder}
}

// named returns the place of a path that the operator's configuration names. One in
// the folder of the project is no safer for that: others may put a link there.
func (s scope) named(path string) project.Place {
	abs, err := filepath.Abs(path)
	if err != nil || !within(abs, s.seen) {
		return project.Place{Path: path}
	}
	if p, err := s.place(abs); err == nil {
		return p
	}
	return project.Place{Path: abs, Within: s.folder} // which says so when it is opened
}

// read returns the content of a file in the scope.
func (s scope) read(path string) ([]byte, error) {
	p, err := s.place(path)
	if err != nil {
		return nil, err
	}
	return p.Read()
}

// resolveNearest follows the links of a path as far as it is there.
func resolveNearest(path string) (string, error) {
	rest := ""
	for at := filepath.Clean(path); ; at = filepath.Dir(at) {
		resolved, err := filepath.EvalSymlinks(at)
		if err == nil {
			return filepath.Join(resolved, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			return "", err
		}
		if target, err := os.Readlink(at); err == nil { // it leads nowhere, by now
			if !filepath.IsAbs(target) {
				target = filepath.Join(filepath.Dir(at), target)
			}
			return filepath.Join(target, rest), nil
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

// allowPath is what an operator may do about a path outside.
const allowPath = "or list it in allowed_paths of the project"
