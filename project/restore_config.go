package project

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
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
	f := &folder{part: Config, at: p.place(), t: t}
	c := &configRestoration{p: p, t: t, warned: map[string]bool{}}
	f.moves = func(root, built *os.File) (out, in []string, err error) {
		c.open = nil // services may have started since the files were built
		return c.moves(root, built)
	}
	f.skip = c.skip
	f.finish = func(_ context.Context, built *os.File) error {
		c.warnOthers()
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

	others int      // entries that the patterns of the target do not take
	named  []string // some of them
}

// moves lists the files that were built, and those in their place. A folder that is
// not there comes whole.
func (c *configRestoration) moves(root, built *os.File) (out, in []string, err error) {
	err = walkBeneath(built, ".", func(name string, e fs.DirEntry) error {
		if live := c.live(root, name); live != "" { // it was not when the files were built
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

// warnOthers names what the patterns keep from coming back.
func (c *configRestoration) warnOthers() {
	if c.others > 0 {
		c.warn("not_included", "", fmt.Sprintf("%d files or folders of the backup were not restored, because the project's config.include and config.exclude do not take them: %s.", c.others, someOf(c.named, c.others)))
	}
}

func isDir(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }

// skip reports whether an entry of the archive does not come back.
func (c *configRestoration) skip(root *os.File, entry string) bool {
	name, ok := strings.CutPrefix(entry, Config+"/")
	if !ok {
		return false // the folder of the part
	}
	if !c.p.takes(name) {
		if c.others++; len(c.named) < maxNamed {
			c.named = append(c.named, name)
		}
		return true
	}
	if live := c.live(root, name); live != "" {
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
func (c *configRestoration) clean(built *os.File) error {
	root, err := c.p.place().openDir()
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // opened for reading
	return walkBeneath(built, ".", func(name string, e fs.DirEntry) error {
		st, err := statBeneath(root, name)
		switch {
		case err != nil:
			return err
		case st != nil && e.IsDir() != isDir(st):
			c.warn("place_taken", name, name+" was not restored: "+what(st)+" is in its place, and stays.")
		case e.IsDir() && isLiveData(built, name):
			c.warn("live_data_kept", name, name+" was not restored: it holds the data of a service and is no configuration.")
		case c.t.Foreign && e.Type().IsRegular() && isComposeFile(built, name):
			c.warnDeployment(name)
		default:
			return nil
		}
		if err := removeAllBeneath(built, name); err != nil {
			return err
		}
		if err := removeParents(built, name); err != nil {
			return err
		}
		return fs.SkipDir
	})
}

// removeParents removes the folders above a name, as far as they are empty by now.
func removeParents(root *os.File, name string) error {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		parent, base, err := parentBeneath(root, dir)
		if err != nil {
			return err
		}
		err = errors.Join(unix.Unlinkat(int(parent.Fd()), base, unix.AT_REMOVEDIR), parent.Close())
		switch {
		case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.EEXIST):
			return nil
		case err != nil:
			return err
		}
	}
	return nil
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

// live returns the folder or file of a running service that a name leads to, or "". A
// name behind a link leads nowhere: a restore does not follow it.
func (c *configRestoration) live(root *os.File, name string) string {
	if c.open == nil {
		c.open = openFiles(context.Background()) // has a deadline of its own
	}
	if isLiveFile(root, name) || c.open.has(root, name) {
		return name
	}
	for dir := name; dir != "."; dir = path.Dir(dir) {
		if st, err := statBeneath(root, dir); err == nil && st != nil && isDir(st) && (isLiveData(root, dir) || c.isData(root, st)) {
			return dir
		}
	}
	return ""
}

// isData reports whether a folder is one that services are known to keep their data
// in, by whichever name.
func (c *configRestoration) isData(root *os.File, dir *unix.Stat_t) bool {
	return slices.ContainsFunc(c.p.Data, func(name string) bool {
		data, err := statBeneath(root, name)
		return err == nil && data != nil && data.Dev == dir.Dev && data.Ino == dir.Ino
	})
}

func (c *configRestoration) warnDeployment(name string) {
	c.warn("deployment_kept", name, "The file "+name+" was not restored: it says which servers, ports and folders the services of the other project have.")
}

// replaceContents writes other contents into files, which keep their owners, modes and
// times.
func replaceContents(dir *os.File, contents map[string][]byte) error {
	for name, b := range contents {
		f, err := openBeneath(dir, name, unix.O_WRONLY)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		err = unix.Fstat(int(f.Fd()), &st)
		if err == nil {
			err = f.Truncate(0)
		}
		if err == nil {
			_, err = f.Write(b)
		}
		if err == nil {
			at := unix.NsecToTimeval(st.Mtim.Nano())
			err = unix.Futimes(int(f.Fd()), []unix.Timeval{at, at})
		}
		if err := errors.Join(err, f.Close()); err != nil {
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
