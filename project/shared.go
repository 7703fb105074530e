package project

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Overlap says that a restore of a part of one project would change files of another.
type Overlap struct {
	Project, Part string // that is restored
	Other         string // the other project
	Sentence      string // for people
}

// Overlaps returns which projects share folders, or have one in a folder of the other.
// Each pair is there once for each project whose restore would change files of the
// other.
func Overlaps(projects map[string]Project) (out []Overlap) {
	var all []territory
	for id, p := range projects {
		for _, part := range p.Parts {
			if t, ok := territoryOf(id, part); ok {
				all = append(all, t)
			}
		}
	}
	slices.SortFunc(all, func(a, b territory) int { return strings.Compare(a.key(), b.key()) })
	inodes := map[[2]uint64][]territory{}
	var above []territory // those that the next one may lie in
	for _, t := range all {
		above = slices.DeleteFunc(above, func(a territory) bool { return !isWithin(t.path, a.path) })
		for _, a := range above {
			out = append(out, a.overlap(t)...)
			if a.path == t.path {
				out = append(out, t.overlap(a)...)
			}
		}
		for _, a := range inodes[t.inode] { // the same folder is mounted at two places
			if t.inode != [2]uint64{} && a.path != t.path {
				out = append(out, append(a.same(t), t.same(a)...)...)
			}
		}
		above, inodes[t.inode] = append(above, t), append(inodes[t.inode], t)
	}
	return out
}

// territory is the folder that a restore of a part changes.
type territory struct {
	id    string
	part  Part
	path  string // without links
	inode [2]uint64
}

// key sorts a folder directly before what lies in it.
func (t territory) key() string {
	return strings.ReplaceAll(t.path, "/", "\x00") + "\x00" + t.id + "\x00" + t.part.Name()
}

func territoryOf(id string, part Part) (t territory, ok bool) {
	var at Place
	switch p := part.(type) {
	case *StoragePart:
		at = p.place()
		at.Path = filepath.Join(at.Path, p.base())
	case *FunctionsPart:
		at = p.place()
	case *ConfigPart:
		at = p.place()
	}
	if at.Path == "" {
		return t, false
	}
	t = territory{id: id, part: part, path: filepath.Clean(at.Path)}
	resolved, err := at.real()
	if errors.Is(err, ErrOutside) {
		return t, false // no restore goes there
	}
	var st unix.Stat_t
	if err == nil {
		t.path = resolved
		if unix.Lstat(resolved, &st) == nil {
			t.inode = [2]uint64{st.Dev, st.Ino}
		}
	}
	return t, true
}

func isWithin(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/")
}

// overlap returns what a restore of t changes of b, which has the same folder or lies
// in it.
func (t territory) overlap(b territory) []Overlap {
	if t.path == b.path {
		return t.same(b)
	}
	rel := strings.TrimPrefix(b.path, strings.TrimSuffix(t.path, "/")+"/")
	if c, ok := t.part.(*ConfigPart); t.id == b.id || ok && !c.reaches(rel) {
		return nil
	}
	advice := "move one of them"
	if t.part.Name() == Config {
		advice = "name it in config.exclude of " + t.id + ", or move one of them"
	}
	return []Overlap{{Project: t.id, Part: t.part.Name(), Other: b.id, Sentence: fmt.Sprintf(
		"The folder of the part %s of the project %s, %s, lies in that of the part %s of the project %s, %s: a restore of %s would change files of %s; %s.",
		b.part.Name(), b.id, b.path, t.part.Name(), t.id, t.path, t.id, b.id, advice)}}
}

// same returns what a restore of t changes of b, which has the same folder.
func (t territory) same(b territory) []Overlap {
	if t.id == b.id || !t.meets(b) {
		return nil
	}
	return []Overlap{{Project: t.id, Part: t.part.Name(), Other: b.id, Sentence: fmt.Sprintf(
		"The part %s of the project %s and the part %s of the project %s have the same folder, %s: a restore of one would replace the files of the other; give each its own folder, or say `%s: none` for one of them.",
		t.part.Name(), t.id, b.part.Name(), b.id, t.path, b.part.Name())}}
}

// meets reports whether two parts with the same folder take the same files. Patterns of
// a configuration that differ are taken at their word.
func (t territory) meets(b territory) bool {
	x, xok := t.part.(*ConfigPart)
	y, yok := b.part.(*ConfigPart)
	if !xok || !yok {
		return !xok && !yok || xok && slices.Contains(x.Include, "**") || yok && slices.Contains(y.Include, "**")
	}
	return slices.ContainsFunc(x.Include, func(pattern string) bool {
		return pattern == "**" || slices.Contains(y.Include, pattern) || slices.Contains(y.Include, "**")
	})
}

// reaches reports whether a restore may change what lies at or below a name.
func (p *ConfigPart) reaches(name string) bool {
	take, enter := p.keep(name, true, nil)
	return (take || enter) && !slices.ContainsFunc(p.Data, func(data string) bool { return isWithin(name, data) })
}
