package project

import (
	"context"
	"io/fs"
	"path/filepath"
	"strings"
)

// Measure counts the files of a part, and their bytes, as far as they can be seen. A
// database is not measured.
func Measure(ctx context.Context, p Part) (path string, files int, bytes int64, err error) {
	keep := func(string, bool) (take, enter bool) { return true, true }
	switch x := p.(type) {
	case *StoragePart:
		path = filepath.Join(x.Path, x.base())
		if !exists(path) && exists(x.Path) {
			return path, 0, 0, nil // nothing was uploaded yet
		}
	case *FunctionsPart:
		path = x.Path
	case *ConfigPart:
		path = x.Root
		keep = func(name string, dir bool) (take, enter bool) {
			take, enter = x.keep(name, dir, map[string]bool{})
			if code, _ := x.unfit(name, dir); code != "" {
				return false, false
			}
			return take, enter
		}
	default:
		return "", 0, 0, nil
	}
	root, err := filepath.EvalSymlinks(path)
	if err != nil {
		return path, 0, 0, err
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
			files, bytes = files+1, bytes+info.Size()
		}
		return nil
	})
	return path, files, bytes, err
}
