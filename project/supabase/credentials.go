package supabase

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// credentials implements [project.Credentials] for a folder.
type credentials struct {
	folder string
	root   string // of the configuration
	o      Options
}

// Fixed implements [project.Credentials].
func (c *credentials) Fixed() bool { return c.o.DatabaseURL != "" }

// Password implements [project.Credentials].
func (c *credentials) Password(ctx context.Context, built string) (string, error) {
	if built == "" {
		m, err := load(ctx, c.folder, newScope(c.folder, c.o.AllowedPaths), c.o.EnvFile)
		if err != nil {
			return "", err
		}
		d, err := m.findDatabase()
		return d.password, err
	}
	var d database
	err := c.with(ctx, built, func(m *model) (err error) {
		d, err = m.findDatabase()
		return err
	})
	return d.password, err
}

// with reads the folder of the project with the files in built in the place of its
// own.
func (c *credentials) with(ctx context.Context, built string, use func(*model) error) (err error) {
	tmp, err := os.MkdirTemp(filepath.Dir(built), "overlay-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	o := overlay{top: tmp, root: c.root, built: built}
	if err := o.ancestors(c.folder); err != nil {
		return err
	}
	if err := o.merge(c.folder); err != nil {
		return err
	}
	m, err := load(ctx, o.at(c.folder), o.scope(newScope(c.folder, c.o.AllowedPaths)), o.envFile(c.folder, c.o.EnvFile))
	if err != nil {
		return errors.New(o.plainly(err.Error()))
	}
	if err := use(m); err != nil {
		return errors.New(o.plainly(err.Error()))
	}
	return nil
}

// passwords returns what services are given to log in to the database with.
func (m *model) passwords() ([]string, error) {
	d, err := m.findDatabase()
	if err != nil {
		return nil, err
	}
	out := []string{d.password}
	for _, name := range slices.Sorted(maps.Keys(m.services())) {
		env, err := m.environment(name)
		if err != nil {
			return nil, err
		}
		out = append(out, env["POSTGRES_PASSWORD"], env["PGPASSWORD"])
		for _, a := range addresses(env) {
			out = append(out, a.password)
		}
	}
	return out, nil
}

var errNotInEnv = errors.New("the services are given the password in another way than by a NAME=value line of a file in the backup")

// SetPassword implements [project.Credentials]. A line is changed if services get the
// password from it.
func (c *credentials) SetPassword(ctx context.Context, built, password string) (changed []string, err error) {
	var old string
	var names []string
	err = c.with(ctx, built, func(m *model) (err error) {
		if names, err = m.filesIn(built); err != nil {
			return err
		}
		d, err := m.findDatabase()
		old = d.password
		return err
	})
	if err != nil || old == password {
		return nil, err
	}
	left, err := c.uses(ctx, built, old)
	for _, name := range names {
		if err != nil || left == 0 {
			break
		}
		before := left
		if left, err = c.setIn(ctx, built, name, old, password, left); left < before {
			changed = append(changed, name)
		}
	}
	if err == nil && left > 0 {
		err = errNotInEnv
	}
	return changed, err
}

// uses counts how often services are given a password.
func (c *credentials) uses(ctx context.Context, built, password string) (n int, err error) {
	err = c.with(ctx, built, func(m *model) error {
		all, err := m.passwords()
		for _, p := range all {
			if p == password {
				n++
			}
		}
		return err
	})
	return n, err
}

// setIn changes, in one file, the lines from which services get the old password, and
// returns how many services still get it.
func (c *credentials) setIn(ctx context.Context, built, name, old, password string, left int) (int, error) {
	path := filepath.Join(built, name)
	text, err := os.ReadFile(path)
	if err != nil {
		return left, err
	}
	for at := 0; left > 0; {
		next, to := replaceNext(text, at, old, password)
		if next == nil {
			break
		}
		if err := os.WriteFile(path, next, 0o600); err != nil {
			return left, err
		}
		at = to
		if n, err := c.uses(ctx, built, old); err == nil && n < left {
			left, text = n, next
		} else { // nobody uses this variable
			at -= len(next) - len(text)
		}
	}
	return left, os.WriteFile(path, text, 0o600)
}
