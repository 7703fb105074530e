package project

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Restoration returns how configuration comes back: file by file; what the backup
// does not hold stays. Into another project no file comes that holds secrets or says
// where the services are: a restore must never change which server a project leads
// to.
func (p *ConfigPart) Restoration(t Target) Restoration { return p.folder(t) }

// Kept returns the files that a restore has replaced.
func (p *ConfigPart) Kept(t Target) Kept { return p.folder(t) }

func (p *ConfigPart) folder(t Target) *folder {
	f := &folder{part: Config, root: p.Root, t: t}
	c := &configRestoration{p: p, t: t, warned: map[string]bool{}}
	f.moves = func(root *os.File, built string) (out, in []string, err error) {
		c.open = nil // services may have started since the files were built
		return c.moves(root, built)
	}
	f.skip = c.skip
	f.finish = func(_ context.Context, built string) error {
		return errors.Join(c.clean(built), replaceContents(built, t.Replace))
	}
	return f
}

// configRestoration decides which files of the configuration come back.
type configRestoration struct {
	p      *ConfigPart
	t      Target
	warned map[string]bool
	open   fileSet // that processes write to; nil before anybody looked
}

// moves lists the files that were built, and those in their place. A folder that is
// not there comes whole.
func (c *configRestoration) moves(root *os.File, built string) (out, in []string, err error) {
	err = walkBeneath(root, built, func(full string, e fs.DirEntry) error {
		name := strings.TrimPrefix(full, built+"/")
		if live := c.live(name); live != "" { // it was not when the files were built
			return fail(nil, "%s holds the data of a service, or is open in one, since the restore has begun, so the configuration was not replaced. Stop the service and restore again.", live)
		}
		st, err := statBeneath(root, name)
		switch {
		case err != nil:
			return err
		case st == nil:
			in = append(in, name)
			return fs.SkipDir
		case e.IsDir() != isDir(st):
			return fmt.Errorf("%s is a folder here or in the backup, but not in both", name)
		case !e.IsDir():
			out, in = append(out, name), append(in, name)
		}
		return nil
	})
	return out, in, err
}

func isDir(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }

// skip reports whether an entry of the archive does not come back.
func (c *configRestoration) skip(entry string) bool {
	name := strings.TrimPrefix(entry, Config+"/")
	if live := c.live(name); live != "" {
		c.warn("live_data_kept", live, live+" was not restored: it holds the data of a service or is open in one, and a restore never writes there.")
		return true
	}
	if !c.t.Foreign {
		return false
	}
	switch base := path.Base(name); {
	case isExample(base):
		return false
	case isSecret(base):
		c.warn("secrets_kept", name, "The file "+name+" was not restored: it holds the secrets of the other project.")
	case isDeployment(base), slices.Contains(c.p.Deployment, name):
		c.warnDeployment(name)
	default:
		return false
	}
	return true
}

// clean removes from what was built what only its content shows not to be of use
// here: the data of services, which old archives hold, compose files of another
// project under names of their own, and what would take the place of a folder, or of
// the link that stands for one.
func (c *configRestoration) clean(built string) error {
	in, err := openRoot(built)
	if gone(err) {
		return nil // nothing comes back
	}
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // opened for reading
	root, err := openRoot(c.p.Root)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // opened for reading
	return walkBeneath(in, ".", func(name string, e fs.DirEntry) error {
		full := filepath.Join(built, name)
		st, err := statBeneath(root, name)
		switch {
		case err != nil:
			return err
		case st != nil && e.IsDir() != isDir(st):
			c.warn("place_taken", name, name+" was not restored: "+what(st)+" is in its place, and stays.")
		case e.IsDir() && isLiveData(full):
			c.warn("live_data_kept", name, name+" was not restored: it holds the data of a service and is no configuration.")
		case c.t.Foreign && e.Type().IsRegular() && isComposeFile(full):
			c.warnDeployment(name)
		default:
			return nil
		}
		if err := os.RemoveAll(full); err != nil {
			return err
		}
		removeParents(built, name)
		return fs.SkipDir
	})
}

// removeParents removes the folders above a name, as far as they are empty by now.
func removeParents(root, name string) {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if os.Remove(filepath.Join(root, dir)) != nil {
			return
		}
	}
}

// what names the kind of a thing.
func what(st *unix.Stat_t) string {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "a folder"
	case unix.S_IFLNK:
		return "a symbolic link"
	}
	return "a file"
}

// live returns the folder or file of a running service that a name leads to, or "".
func (c *configRestoration) live(name string) string {
	if c.open == nil {
		c.open = openFiles(context.Background()) // has a deadline of its own
	}
	if full := filepath.Join(c.p.Root, name); isLiveFile(full) || !isLink(full) && c.open.has(full) {
		return name
	}
	for dir := name; dir != "."; dir = path.Dir(dir) {
		full := filepath.Join(c.p.Root, dir)
		if fi, err := os.Stat(full); err == nil && fi.IsDir() && (isLiveData(full) || c.isData(full)) {
			return dir
		}
	}
	return ""
}

// isData reports whether a folder is one that services are known to keep their data
// in, by whichever name.
func (c *configRestoration) isData(dir string) bool {
	fi, err := os.Stat(dir)
	return err == nil && slices.ContainsFunc(c.p.Data, func(name string) bool {
		data, err := os.Stat(filepath.Join(c.p.Root, name))
		return err == nil && os.SameFile(fi, data)
	})
}

func (c *configRestoration) warnDeployment(name string) {
	c.warn("deployment_kept", name, "The file "+name+" was not restored: it says which servers, ports and folders the services of the other project have.")
}

// replaceContents writes other contents into files, which keep their owners, modes and
// times.
func replaceContents(dir string, contents map[string][]byte) error {
	for name, b := range contents {
		path := filepath.Join(dir, name)
		fi, err := os.Lstat(path)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			return err
		}
		_, err = f.Write(b)
		if err := errors.Join(err, f.Close(), os.Chtimes(path, fi.ModTime(), fi.ModTime())); err != nil {
			return err
		}
	}
	return nil
}

// warn says a thing once.
func (c *configRestoration) warn(code, name, sentence string) {
	if !c.warned[code+name] {
		c.warned[code+name] = true
		c.t.warn(Config, code, name, sentence)
	}
}
