package project_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// randomTree makes files, folders and links with names of any bytes, with modes,
// times and attributes, deep and long.
type randomTree struct {
	t    *testing.T
	r    *rand.Rand
	root string
	xs   bool // attributes
}

func (x *randomTree) name() string {
	switch x.r.IntN(8) {
	case 0:
		return strings.Repeat("ü", 1+x.r.IntN(127)) // up to 254 bytes
	case 1, 2, 3:
		return fmt.Sprintf("f%d.txt", x.r.IntN(8)) // meets others
	}
	b := make([]byte, 1+x.r.IntN(6))
	for i := range b {
		for b[i] == 0 || b[i] == '/' || b[i] == '.' {
			b[i] = byte(x.r.UintN(256))
		}
	}
	return string(b)
}

func (x *randomTree) fill(dir string, depth int) {
	x.t.Helper()
	for range 2 + x.r.IntN(3) {
		name := filepath.Join(dir, x.name())
		if _, err := os.Lstat(name); err == nil {
			continue
		}
		var err error
		switch k := x.r.IntN(6); {
		case k < 2 && depth > 0:
			err = os.Mkdir(name, 0o755)
			x.fill(name, depth-1)
			if x.xs && err == nil {
				err = unix.Setxattr(name, "user.n", []byte{'d', byte(x.r.UintN(256))}, 0)
			}
			err = errors.Join(err, os.Chmod(name, 0o500|os.FileMode(x.r.UintN(0o100))))
		case k == 2:
			err = os.Symlink("to\xffnowhere", name)
		default:
			err = os.WriteFile(name, []byte(fmt.Sprint(x.r.Uint64())), 0o600)
			if x.xs {
				err = errors.Join(err, unix.Setxattr(name, "user.n", []byte{0, byte(x.r.UintN(256))}, 0))
			}
			err = errors.Join(err, os.Chmod(name, os.FileMode(x.r.UintN(0o1000))))
		}
		at := unix.NsecToTimespec(x.r.Int64N(1<<30) * 1e9)
		if err := errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)); err != nil {
			x.t.Fatal(err)
		}
	}
}

// deep makes a chain of folders, whose names are longer than the kernel takes at once
// if n is large, with a file at its end.
func (x *randomTree) deep(dir string, n int) {
	x.t.Helper()
	at, err := os.OpenRoot(dir)
	for range n {
		var next *os.Root
		name := strings.Repeat("d", 200)
		if err == nil {
			err = at.MkdirAll(name, 0o750)
		}
		if err == nil {
			next, err = at.OpenRoot(name)
		}
		if err != nil {
			x.t.Fatal(err)
		}
		err = at.Close()
		at = next
	}
	if err := errors.Join(err, at.WriteFile("end", []byte(fmt.Sprint(x.r.Uint64())), 0o640), at.Chtimes("end", time.Unix(1e9, 5), time.Unix(1e9, 5)), at.Close()); err != nil {
		x.t.Fatal(err)
	}
}

// listBytes lists a tree to the byte: names, modes, times of files and links, targets, attributes and
// contents. Whatever begins with .holdfast- at the top is left out.
func listBytes(t *testing.T, root string) string {
	t.Helper()
	return listTree(t, root, func(string) bool { return false })
}

// listTree is listBytes with the times of those folders that times chooses.
func listTree(t *testing.T, root string, times func(dir string) bool) string {
	t.Helper()
	var out strings.Builder
	r, err := os.OpenRoot(root)
	if err == nil {
		err = errors.Join(listBelow(r, ".", times, &out), r.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func listBelow(r *os.Root, dir string, times func(dir string) bool, out *strings.Builder) error {
	d, err := r.Open(".")
	if err != nil {
		return err
	}
	entries, err := d.ReadDir(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		rel := path.Join(dir, e.Name())
		if strings.HasPrefix(rel, ".holdfast-") {
			continue
		}
		if err := listOne(r, e.Name(), rel, times, out); err != nil {
			return err
		}
		if !e.IsDir() {
			continue
		}
		below, err := r.OpenRoot(e.Name())
		if err == nil {
			err = errors.Join(listBelow(below, rel, times, out), below.Close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func listOne(r *os.Root, name, rel string, times func(dir string) bool, out *strings.Builder) error {
	fi, err := r.Lstat(name)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%q %v", rel, fi.Mode())
	if !fi.IsDir() || times(rel) {
		fmt.Fprintf(out, " %d", fi.ModTime().UnixNano())
	}
	if fi.Mode()&os.ModeSymlink != 0 {
		target, err := r.Readlink(name)
		fmt.Fprintf(out, " %q\n", target)
		return err
	}
	f, err := r.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	attr := make([]byte, 10)
	n, _ := unix.Fgetxattr(int(f.Fd()), "user.n", attr)
	if fi.IsDir() {
		fmt.Fprintf(out, " %q\n", attr[:max(n, 0)])
		return nil
	}
	b, err := io.ReadAll(f)
	fmt.Fprintf(out, " %q %q\n", b, attr[:max(n, 0)])
	return err
}
