package project

import (
	"context"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Measure counts the files of a part, and their bytes, as far as they can be seen. A
// database is not measured. at is the folder that was looked at.
func Measure(ctx context.Context, p Part) (at string, files int, bytes int64, err error) {
	keep := everything
	var place Place
	below := "."
	switch x := p.(type) {
	case *StoragePart:
		place, below = x.place(), x.base()
	case *FunctionsPart:
		place = x.place()
	case *ConfigPart:
		place, keep = x.place(), x.counts
	default:
		return "", 0, 0, nil
	}
	at = path.Join(place.Path, below)
	root, err := place.openDir()
	if err != nil {
		return at, 0, 0, err
	}
	defer root.Close() //nolint:errcheck // opened for reading
	files, bytes, err = measureBelow(ctx, p.Name(), root, below, keep)
	return at, files, bytes, err
}

func everything(*os.File, string, bool) (take, enter bool) { return true, true }

// counts reports whether a backup takes a name, and whether it looks below it.
func (p *ConfigPart) counts(root *os.File, name string, dir bool) (take, enter bool) {
	if code, _ := p.unfit(root, name, dir); code != "" {
		return false, false
	}
	return p.keep(name, dir, map[string]bool{})
}

// measureBelow counts the regular files below a folder of root.
func measureBelow(ctx context.Context, part string, root *os.File, below string, keep func(root *os.File, name string, dir bool) (take, enter bool)) (files int, bytes int64, err error) {
	err = walkBeneath(root, below, func(name string, e fs.DirEntry) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		take, enter := keep(root, name, e.IsDir())
		switch {
		case e.IsDir() && (!enter || isOwn(part, name)):
			return fs.SkipDir
		case !take || !e.Type().IsRegular():
			return nil
		}
		if st, err := statBeneath(root, name); err == nil && st != nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
			files, bytes = files+1, bytes+st.Size
		}
		return nil
	})
	return files, bytes, err
}
