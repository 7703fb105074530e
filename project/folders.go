package project

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/holdfast-dev/holdfast/archive"
)

// FunctionsPart is the folder of the edge functions.
type FunctionsPart struct {
	Path   string
	Within string // see [Place]

	Apart []string // sentences about what the service mounts in there from other places

	// Env returns the names of the variables that the functions are given; nil if
	// nobody knows.
	Env func() (map[string]bool, error)
}

func (p *FunctionsPart) place() Place { return Place{p.Path, p.Within} }

// Name implements [Part].
func (*FunctionsPart) Name() string { return Functions }

// Dump implements [Part].
func (p *FunctionsPart) Dump(ctx context.Context, _ *Session, w *archive.Writer) ([]Warning, error) {
	t, err := openTree(Functions, p.place(), w)
	if err != nil {
		return nil, err
	}
	defer t.close()
	if err := noteApart(t.t, p.Apart); err != nil {
		return nil, err
	}
	if err := t.walk(ctx, func(string, bool) (bool, bool) { return true, true }); err != nil {
		return nil, err
	}
	return t.t.warnings(), nil
}

// noteApart warns of what lies in the folder of a part only for the service that mounts
// it there.
func noteApart(t *tally, sentences []string) error {
	for _, s := range sentences {
		if err := t.note(mountsApart, "", "%s", s); err != nil {
			return err
		}
	}
	return nil
}

// ConfigPart is the files of a folder that patterns choose.
//
// A pattern is of the kind of [doublestar.Match]: "**" spans folders. It is about
// names relative to Root; one that matches a folder stands for everything in it.
// A name is taken if a pattern of Include matches it and none of Exclude does.
//
// The data of services is no configuration, whatever the patterns say: it would be
// read torn, and a restore would write under a running service.
type ConfigPart struct {
	Root    string
	Within  string // see [Place]
	Include []string
	Exclude []string

	Data       []string // folders below Root that services are known to keep their data in
	Deployment []string // files below Root that say which servers the project leads to
	MaxFile    int64    // larger files are left out with a warning; 0: no limit
}

func (p *ConfigPart) place() Place { return Place{p.Root, p.Within} }

// Name implements [Part].
func (*ConfigPart) Name() string { return Config }

// CheckPattern returns an error for a pattern that cannot match.
func CheckPattern(pattern string) error {
	if !doublestar.ValidatePattern(pattern) || pattern == "" || filepath.IsAbs(pattern) || strings.HasPrefix(path.Clean(pattern), "..") {
		return fail(nil, "the pattern %q is not relative to the root, or its brackets do not close", pattern)
	}
	return nil
}

// Dump implements [Part].
func (p *ConfigPart) Dump(ctx context.Context, _ *Session, w *archive.Writer) ([]Warning, error) {
	t, err := openTree(Config, p.place(), w)
	if err != nil {
		return nil, err
	}
	defer t.close()
	used, open := map[string]bool{}, openFiles(ctx)
	var noted error
	err = t.walk(ctx, func(name string, dir bool) (take, enter bool) {
		take, enter = p.keep(name, dir, used)
		if take || enter {
			if code, why := p.unfit(t.root, name, dir, open); code != "" {
				noted = errors.Join(noted, t.t.list(code, name, "%s was left out: %s.", name, why))
				return false, false
			}
		}
		return take, enter
	})
	if err = errors.Join(err, noted); err != nil {
		return nil, err
	}
	for _, pattern := range p.Include {
		if !used[pattern] {
			if err := t.t.note(patternEmpty, pattern, "The include pattern %q matches nothing.", pattern); err != nil {
				return nil, err
			}
		}
	}
	return t.t.warnings(), nil
}

// unfit returns why a folder or file is no configuration; "" if it is. open are the files
// that are being written to.
func (p *ConfigPart) unfit(root *os.File, name string, dir bool, open fileSet) (code, why string) {
	switch {
	case dir && (slices.Contains(p.Data, name) || isLiveData(root, name)):
		return liveData, "it holds the data of a service"
	case !dir && isLiveFile(root, name):
		return liveData, "it is a SQLite database in use"
	case !dir && open.has(root, name):
		return liveData, "a process has it open for writing"
	case !dir && isLarge(root, name, p.MaxFile):
		return fileLarge, "it is larger than config.max_file"
	}
	return "", ""
}

// takes reports whether the patterns take a name.
func (p *ConfigPart) takes(name string) bool {
	return matches(p.Include, name, nil) && !matches(p.Exclude, name, nil)
}

func (p *ConfigPart) keep(name string, dir bool, used map[string]bool) (take, enter bool) {
	if matches(p.Exclude, name, nil) {
		return false, false
	}
	take = matches(p.Include, name, used)
	return take, dir && (take || p.leads(name))
}

// matches reports whether a pattern matches name or a folder above it.
func matches(patterns []string, name string, used map[string]bool) bool {
	found := false
	for _, pattern := range patterns {
		for n := name; n != "."; n = path.Dir(n) {
			if ok, err := doublestar.Match(pattern, n); err == nil && ok {
				found = true
				if used != nil {
					used[pattern] = true
				}
			}
		}
	}
	return found
}

// leads reports whether something below the folder could be included.
func (p *ConfigPart) leads(folder string) bool {
	depth := strings.Count(folder, "/") + 1
	for _, pattern := range p.Include {
		components := strings.Split(path.Clean(pattern), "/")
		if i := slices.Index(components, "**"); i >= 0 && i <= depth {
			components = components[:i]
		} else if len(components) <= depth {
			continue
		} else {
			components = components[:depth]
		}
		head := strings.Join(strings.Split(folder, "/")[:len(components)], "/")
		if ok, err := doublestar.Match(strings.Join(components, "/"), head); err == nil && ok {
			return true
		}
	}
	return false
}
