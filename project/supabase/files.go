package supabase

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Names of compose files, in the order in which compose looks for them.
var (
	defaultFiles  = []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}
	overrideFiles = []string{"compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"}
)

// composeFiles returns the compose files of a folder: those of COMPOSE_FILE, else
// those that CONFIG chooses, as run.sh of Supabase does, else the default file and
// its override. notes says what was passed over.
func composeFiles(dir string, env map[string]string) (files, notes []string, err error) {
	switch {
	case env["COMPOSE_FILE"] != "":
		if env["CONFIG"] != "" {
			notes = append(notes, "COMPOSE_FILE and CONFIG are both set; COMPOSE_FILE is followed.")
		}
		files, err = named(dir, env)
		return files, notes, err
	case strings.TrimSpace(env["CONFIG"]) != "":
		files = []string{filepath.Join(dir, "docker-compose.yml")}
		for name := range strings.FieldsSeq(env["CONFIG"]) {
			files = append(files, filepath.Join(dir, "docker-compose."+name+".yml"))
		}
		for _, f := range files {
			if !isFile(f) {
				return nil, nil, fmt.Errorf("CONFIG in the variables of %s needs %s, which is not a file", dir, f)
			}
		}
		if o := first(dir, overrideFiles); o != "" {
			notes = append(notes, o+" is not used: run.sh does not read it when CONFIG is set.")
		}
		return files, notes, nil
	}
	base := first(dir, defaultFiles)
	if base == "" {
		return nil, nil, fmt.Errorf("%s has none of %s, and COMPOSE_FILE is not set; if the files have other names, set COMPOSE_FILE in .env", dir, strings.Join(defaultFiles, ", "))
	}
	files = []string{base}
	if o := first(dir, overrideFiles); o != "" {
		files = append(files, o)
	}
	return files, nil, nil
}

// named returns the files of COMPOSE_FILE.
func named(dir string, env map[string]string) (files []string, err error) {
	sep := env["COMPOSE_PATH_SEPARATOR"]
	if sep == "" {
		sep = string(os.PathListSeparator)
	}
	for f := range strings.SplitSeq(env["COMPOSE_FILE"], sep) {
		if !filepath.IsAbs(f) {
			f = filepath.Join(dir, f)
		}
		if !isFile(f) {
			return nil, fmt.Errorf("COMPOSE_FILE in the variables of %s names %s, which is not a file; files are separated by %q", dir, f, sep)
		}
		files = append(files, f)
	}
	return files, nil
}

// first returns the first of the names that is a file of the folder, or "".
func first(dir string, names []string) string {
	i := slices.IndexFunc(names, func(n string) bool { return isFile(filepath.Join(dir, n)) })
	if i < 0 {
		return ""
	}
	return filepath.Join(dir, names[i])
}

func isFile(name string) bool {
	fi, err := os.Stat(name)
	return err == nil && fi.Mode().IsRegular()
}

func isDir(name string) bool {
	fi, err := os.Stat(name)
	return err == nil && fi.IsDir()
}
