package project

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// specifier finds what a module imports: static imports and exports, and dynamic
// imports of plain strings.
var specifier = regexp.MustCompile(`(?m)(?:^|[;\s}])(?:import|export)\b[^'"();]*?\bfrom\s*["']([^"'\n]+)["']|(?:^|[;\s])import\s*["']([^"'\n]+)["']|\bimport\(\s*["']([^"'\n]+)["']\s*[,)]`)

// comment hides what is commented out, but not "https://".
var comment = regexp.MustCompile(`(?s)/\*.*?\*/|(?m:(^|[\s;{}(,])//.*$)`)

// variable finds the variables of the environment that a module reads without a
// default of its own.
var variable = regexp.MustCompile("\\bDeno\\.env\\.get\\(\\s*[\"'`]([A-Za-z_][A-Za-z0-9_]*)[\"'`]\\s*\\)(\\s*(?:\\?\\?|\\|\\|))?")

// scan warns of functions that cannot start, as far as their files show. Where the
// configuration comes back as well, it is not asked for variables: it is of the
// same instant as the functions.
func (p *FunctionsPart) scan(root string, t Target) error {
	var given map[string]bool // nil: nobody knows
	if p.Env != nil && !t.Config {
		var err error
		if given, err = p.Env(); err != nil {
			given = nil // the configuration is broken, which others say
		}
	}
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var broken []string
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), "_") || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		why, err := scanFunction(root, e.Name(), given)
		if err != nil {
			return err
		}
		if len(why) > 0 {
			broken = append(broken, fmt.Sprintf("The function %s: %s.", e.Name(), strings.Join(why, "; ")))
		}
	}
	if _, err := os.Stat(filepath.Join(root, "main")); err != nil && len(entries) > 0 {
		broken = append(broken, "The function main, which calls the others, is not in the backup.")
	}
	if len(broken) > 0 {
		t.warn(Functions, "functions_incomplete", "", "Some functions could not be restored due to missing dependencies")
	}
	for _, b := range broken {
		t.warn(Functions, "function_incomplete", "", b)
	}
	return nil
}

const maxSource = 1 << 20 // larger modules are bundles, which import nothing

// scanFunction returns why a function cannot start. given are the variables that it
// can read; nil if nobody knows.
func scanFunction(root, name string, given map[string]bool) (why []string, err error) {
	dir := filepath.Join(root, name)
	entry := slices.ContainsFunc([]string{"index.ts", "index.tsx", "index.js", "index.jsx", "index.mjs"}, func(f string) bool { return exists(filepath.Join(dir, f)) })
	if !entry {
		why = append(why, "it has no index.ts")
	}
	mapped, bad := importMap(root, dir)
	why = append(why, bad...)
	err = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if errors.Is(err, syscall.ENAMETOOLONG) {
			return nil // no runtime could load it
		}
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() || !slices.Contains([]string{".ts", ".tsx", ".js", ".jsx", ".mjs"}, filepath.Ext(file)) {
			return nil
		}
		if fi, err := d.Info(); err != nil || fi.Size() > maxSource {
			return err
		}
		text, err := os.ReadFile(file) //nolint:gosec // in a folder that nobody else writes to
		if err != nil {
			return err
		}
		text = comment.ReplaceAll(text, []byte("$1"))
		for _, problem := range append(imports(root, file, text, mapped), variables(text, given)...) {
			if !slices.Contains(why, problem) {
				why = append(why, problem)
			}
		}
		return nil
	})
	return why, err
}

// imports returns what a module imports and cannot find.
func imports(root, file string, text []byte, mapped []string) (why []string) {
	for _, m := range specifier.FindAllSubmatch(text, -1) {
		if problem := unresolved(root, file, string(m[1])+string(m[2])+string(m[3]), mapped); problem != "" {
			why = append(why, problem)
		}
	}
	return why
}

// variables returns which variables a module reads that nobody gives to it. Those
// of Deno itself are always there.
func variables(text []byte, given map[string]bool) (why []string) {
	if given == nil {
		return nil
	}
	for _, m := range variable.FindAllSubmatch(text, -1) {
		if name := string(m[1]); len(m[2]) == 0 && !given[name] && !strings.HasPrefix(name, "DENO_") {
			why = append(why, fmt.Sprintf("it reads the variable %s, which neither .env nor the environment of the functions has", name))
		}
	}
	return why
}

// unresolved returns why an import cannot be found, if it cannot.
func unresolved(root, file, spec string, mapped []string) string {
	switch {
	case strings.HasPrefix(spec, "./"), strings.HasPrefix(spec, "../"):
		at := filepath.Join(filepath.Dir(file), spec)
		if !strings.HasPrefix(at, root+string(filepath.Separator)) {
			return fmt.Sprintf("it imports %s, which is outside of the functions", spec)
		}
		if !exists(at) {
			return fmt.Sprintf("it imports %s, which is not there", spec)
		}
	case strings.Contains(spec, ":"), strings.HasPrefix(spec, "/"): // npm:, jsr:, https://, …
	case !slices.ContainsFunc(mapped, func(m string) bool { return spec == m || strings.HasSuffix(m, "/") && strings.HasPrefix(spec, m) }):
		return fmt.Sprintf("it imports %q, which no deno.json or import_map.json explains", spec)
	}
	return ""
}

var jsonComment = regexp.MustCompile(`(?m)^\s*//.*$`)

// importMap returns the names that the import maps of a function and of the whole
// folder explain, and what is wrong with them.
func importMap(root, dir string) (names, bad []string) {
	for _, d := range []string{dir, root} {
		for _, f := range []string{"deno.json", "deno.jsonc", "import_map.json", "package.json"} {
			b, err := os.ReadFile(filepath.Join(d, f))
			if err != nil {
				continue
			}
			var in struct {
				Imports      map[string]any `json:"imports"`
				Dependencies map[string]any `json:"dependencies"`
			}
			if err := json.Unmarshal(jsonComment.ReplaceAll(b, nil), &in); err != nil {
				bad = append(bad, "its "+f+" is not JSON")
				continue
			}
			for _, m := range []map[string]any{in.Imports, in.Dependencies} {
				for name := range m {
					names = append(names, name)
				}
			}
		}
	}
	return names, bad
}
