package archive

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

var partName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// validPart reports whether name may be a part's.
func validPart(name string) bool { return partName.MatchString(name) && name != indexDir }

// checkName refuses names that are not plain relative paths.
func checkName(name string) error {
	if name == "" || len(name) > maxName || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%w: name of %d bytes", ErrUnsafe, len(name))
	}
	for c := range strings.SplitSeq(name, "/") {
		if c == "" || c == "." || c == ".." {
			return fmt.Errorf("%w: name %q is absolute or not plain", ErrUnsafe, name)
		}
		if len(c) > maxComponent {
			return fmt.Errorf("%w: a component of %d bytes", ErrUnsafe, len(c))
		}
	}
	return nil
}

// checkTarget refuses links that could lead out of their part. A target is any
// number of "..", then plain components: with ".." further on, a chain of links
// could climb higher than the text of each shows.
func checkTarget(name, target string) error {
	unsafe := fmt.Errorf("%w: link %q to %q leaves its part", ErrUnsafe, name, target)
	if target == "" || len(target) > maxName || strings.HasPrefix(target, "/") || strings.ContainsRune(target, 0) {
		return unsafe
	}
	depth := strings.Count(name, "/") - 1 // folders between the part and the link
	plain := false
	for c := range strings.SplitSeq(target, "/") {
		switch {
		case c == ".." && plain:
			return unsafe
		case c == "..":
			depth--
		case c != "" && c != ".":
			plain = true
		}
	}
	if depth < 0 {
		return unsafe
	}
	return nil
}

// checkEntry refuses entries that no archive may hold.
func checkEntry(e Entry) error {
	if err := checkName(e.Name); err != nil {
		return err
	}
	if Reserved(e.Name) {
		return fmt.Errorf("%w: %q is a name that only Holdfast itself may give", ErrUnsafe, e.Name)
	}
	switch e.Kind {
	case File, Dir:
	case Link:
		if err := checkTarget(e.Name, e.Target); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w: %q is of type %q", ErrUnsafe, e.Name, e.Kind)
	}
	if e.Size < 0 {
		return fmt.Errorf("%w: %q has a negative size", ErrUnsafe, e.Name)
	}
	if bad := TrimXattrs(maps.Clone(e.Xattrs)); len(bad) > 0 {
		return fmt.Errorf("%w: %q has attributes that are too large or have no plain names", ErrUnsafe, e.Name)
	}
	return nil
}

// TrimXattrs removes the extended attributes that no archive can hold, and returns
// their names.
func TrimXattrs(attrs map[string]string) (removed []string) {
	size := 0
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		size += len(name) + len(attrs[name])
		if name == "" || strings.ContainsAny(name, "=\x00") || size > maxXattrs {
			delete(attrs, name)
			removed = append(removed, name)
		}
	}
	return removed
}

// Fits reports whether a name, which begins with that of its part, may stand in an
// archive.
func Fits(name string) bool { return checkName(name) == nil }

// CheckLink returns [ErrUnsafe] for a symbolic link that no archive can hold. The name
// begins with that of the part.
func CheckLink(name, target string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return checkTarget(name, target)
}

// reservedPrefix begins the names of what a restore makes in the folder of a part.
const reservedPrefix = ".holdfast-"

// reservedFolder matches those names in folders below: one part may lie in another.
var reservedFolder = regexp.MustCompile(`^\.holdfast-(new|old|undone)-[a-z0-9]{1,10}$`)

// Reserved reports whether a name, which begins with that of its part, is one under
// which a restore builds and keeps files. No archive may hold it. Below the top, the
// objects of storage may have any name, and so may databases, which have no folder.
func Reserved(name string) bool {
	part, rest, _ := strings.Cut(name, "/")
	return part != "database" && (strings.HasPrefix(rest, reservedPrefix) || part != "storage" && slices.ContainsFunc(strings.Split(rest, "/"), reservedFolder.MatchString))
}

// partOf returns the first component of a name.
func partOf(name string) string {
	first, _, _ := strings.Cut(name, "/")
	return first
}

// pieceName returns the name of the nth piece of a streamed file.
func pieceName(dir string, n int) string { return path.Join(dir, fmt.Sprintf("%07d", n)) }

func indexName(n int) string { return path.Join(indexDir, fmt.Sprintf("%07d.jsonl", n)) }
