package archive

import (
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
)

// nameSet knows the names of a part's entries, to refuse what cannot lie in one
// folder. It keeps 62 bits of a hash of each name, whose seed is random: about 16
// bytes per name, however long it is. That two of ten million names have the same hash
// happens once in a hundred thousand archives.
type nameSet struct {
	seed   maphash.Seed
	hashes map[uint64]struct{} // with a mark each
	parent string              // of the last entry, known to be a folder
}

// errNoFolder says that a name is that of a folder and of a file or link.
var errNoFolder = errors.New("a file or link and a folder have the same name")

func newNameSet() *nameSet {
	return &nameSet{seed: maphash.MakeSeed(), hashes: map[uint64]struct{}{}}
}

// Marks, in the lowest bits of a hash.
const (
	markFile   = 0
	markAbove  = 1 // a folder without an entry so far
	markFolder = 2
	marks      = 3
)

// add takes in a name, and reports whether it is that of a folder that has an entry.
// It fails with ErrTwice if a file or link has the name of another, and with
// errNoFolder.
func (s *nameSet) add(name string, kind Kind) (again bool, err error) {
	if i := strings.LastIndexByte(name, '/'); i >= 0 && name[:i] != s.parent {
		if err := s.enter(name[:i]); err != nil {
			return false, err
		}
		s.parent = name[:i]
	}
	h := maphash.String(s.seed, name) &^ marks
	again = s.has(h | markFolder)
	file, folder := s.has(h|markFile), again || s.has(h|markAbove)
	if file && kind == Dir || folder && kind != Dir {
		return false, fmt.Errorf("%w: %q", errNoFolder, name)
	}
	if file {
		return false, fmt.Errorf("%w: %q", ErrTwice, name)
	}
	if kind == Dir {
		s.hashes[h|markFolder] = struct{}{}
		delete(s.hashes, h|markAbove)
		return again, nil
	}
	s.hashes[h|markFile] = struct{}{}
	return false, nil
}

// enter takes in a folder and those above it, which need no entries of their own.
func (s *nameSet) enter(dir string) error {
	var h maphash.Hash
	h.SetSeed(s.seed)
	for rest := dir; rest != ""; {
		i := strings.IndexByte(rest[1:], '/') + 1
		if i == 0 {
			i = len(rest)
		}
		_, _ = h.WriteString(rest[:i]) // has no errors
		rest = rest[i:]
		n := h.Sum64() &^ marks
		if s.has(n | markFile) {
			return fmt.Errorf("%w: %q", errNoFolder, dir)
		}
		if !s.has(n | markFolder) {
			s.hashes[n|markAbove] = struct{}{}
		}
	}
	return nil
}

// has reports whether a hash is known.
func (s *nameSet) has(h uint64) bool { _, ok := s.hashes[h]; return ok }
