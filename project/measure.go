package project

import (
	"context"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// blockSize is the unit in which the system counts what a file takes on a disk.
const blockSize = 512

// Measured is what lies in the folder of a part.
type Measured struct {
	Path   string // of the folder; "" if the part has none
	Files  int
	Bytes  int64 // of their contents
	OnDisk int64 // bytes that they take there: a sparse file takes less than it has
}

// Measure counts the files of a part, as far as they can be seen. A database is not
// measured.
func Measure(ctx context.Context, p Part) (Measured, error) {
	keep := everything
	var place Place
	below := "."
	switch x := p.(type) {
	case *StoragePart:
		place, below = x.place(), x.base()
	case *FunctionsPart:
		place = x.place()
	case *ConfigPart:
		place, keep = x.place(), x.counts(openFiles(ctx))
	default:
		return Measured{}, nil
	}
	at := path.Join(place.Path, below)
	root, err := place.openDir()
	if err != nil {
		return Measured{Path: at}, err
	}
	defer root.Close() //nolint:errcheck // opened for reading
	m, err := measureBelow(ctx, p.Name(), root, below, keep)
	m.Path = at
	return m, err
}

// chooser reports whether a backup takes a name below a folder, and whether it looks
// below it.
type chooser func(root *os.File, name string, dir bool) (take, enter bool)

func everything(*os.File, string, bool) (take, enter bool) { return true, true }

// counts chooses what a backup takes. open are the files that are being written to.
func (p *ConfigPart) counts(open fileSet) chooser {
	return func(root *os.File, name string, dir bool) (take, enter bool) {
		if code, _ := p.unfit(root, name, dir, open); code != "" {
			return false, false
		}
		return p.keep(name, dir, map[string]bool{})
	}
}

// measureBelow counts the regular files below a folder of root.
func measureBelow(ctx context.Context, part string, root *os.File, below string, keep chooser) (m Measured, err error) {
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
			m.Files, m.Bytes, m.OnDisk = m.Files+1, m.Bytes+st.Size, m.OnDisk+st.Blocks*blockSize
		}
		return nil
	})
	return m, err
}
