package project

import (
	"context"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
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
func Measure(ctx context.Context, p Part) (m Measured, err error) {
	var path string
	keep := func(string, bool) (take, enter bool) { return true, true }
	switch x := p.(type) {
	case *StoragePart:
		path = filepath.Join(x.Path, x.base())
		if !exists(path) && exists(x.Path) {
			return Measured{Path: path}, nil // nothing was uploaded yet
		}
	case *FunctionsPart:
		path = x.Path
	case *ConfigPart:
		path = x.Root
		open := openFiles(ctx)
		keep = func(name string, dir bool) (take, enter bool) {
			take, enter = x.keep(name, dir, map[string]bool{})
			if code, _ := x.unfit(name, dir, open); code != "" {
				return false, false
			}
			return take, enter
		}
	default:
		return m, nil
	}
	m.Path = path
	root, err := filepath.EvalSymlinks(path)
	if err != nil {
		return m, err
	}
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || name == root {
			return err
		}
		rel, _ := filepath.Rel(root, name) // it lies below
		take, enter := keep(rel, d.IsDir())
		switch {
		case d.IsDir() && (!enter || strings.HasPrefix(rel, ownPrefix)):
			return fs.SkipDir
		case !take || !d.Type().IsRegular():
			return nil
		}
		if info, err := d.Info(); err == nil {
			m.Files, m.Bytes = m.Files+1, m.Bytes+info.Size()
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				m.OnDisk += st.Blocks * blockSize
			}
		}
		return nil
	})
	return m, err
}
