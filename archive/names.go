package archive

import (
	"fmt"
	"path"
	"regexp"
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

// partOf returns the first component of a name.
func partOf(name string) string {
	first, _, _ := strings.Cut(name, "/")
	return first
}

// pieceName returns the name of the nth piece of a streamed file.
func pieceName(dir string, n int) string { return path.Join(dir, fmt.Sprintf("%07d", n)) }

func indexName(n int) string { return path.Join(indexDir, fmt.Sprintf("%07d.jsonl", n)) }
