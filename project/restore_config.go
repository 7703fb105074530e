package project

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
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
	f.moves = c.moves
	f.skip = c.skip
	f.finish = func(_ context.Context, built string) error { return c.clean(built) }
	return f
}

// configRestoration decides which files of the configuration come back.
type configRestoration struct {
	p      *ConfigPart
	t      Target
	warned map[string]bool
}

// moves lists the files that were built, and those in their place.
func (c *configRestoration) moves(built string) (out, in []string, err error) {
	if in, err = files(built); err != nil {
		return nil, nil, err
	}
	for _, name := range in {
		if live := c.live(name); live != "" { // it was not when the files were built
			return nil, nil, fmt.Errorf("%s holds the data of a service", live)
		}
		if exists(filepath.Join(c.p.Root, name)) {
			out = append(out, name)
		}
	}
	return out, in, nil
}

// skip reports whether an entry of the archive does not come back.
func (c *configRestoration) skip(entry string) bool {
	name := strings.TrimPrefix(entry, Config+"/")
	if live := c.live(name); live != "" {
		c.warn("live_data_kept", live, live+" was not restored: it holds the data of a service, and a restore never writes there.")
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
// here: the data of services, which old archives hold, and compose files of another
// project under names of their own.
func (c *configRestoration) clean(built string) error {
	return filepath.WalkDir(built, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			if name == built && os.IsNotExist(err) {
				return nil // nothing comes back
			}
			return err
		}
		rel, err := filepath.Rel(built, name)
		switch {
		case err != nil:
			return err
		case d.IsDir() && rel != "." && isLiveData(name):
			c.warn("live_data_kept", rel, rel+" was not restored: it holds the data of a service and is no configuration.")
			if err := os.RemoveAll(name); err != nil {
				return err
			}
			return filepath.SkipDir
		case c.t.Foreign && d.Type().IsRegular() && isComposeFile(name):
			c.warnDeployment(rel)
			return os.Remove(name)
		}
		return nil
	})
}

// live returns the folder or file of a running service that a name leads to, or "".
func (c *configRestoration) live(name string) string {
	if isLiveFile(filepath.Join(c.p.Root, name)) {
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

// warn says a thing once.
func (c *configRestoration) warn(code, name, sentence string) {
	if !c.warned[code+name] {
		c.warned[code+name] = true
		c.t.warn(Config, code, name, sentence)
	}
}
