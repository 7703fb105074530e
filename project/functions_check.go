package project

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
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
func (p *FunctionsPart) scan(built *os.File, t Target) error {
	var given map[string]bool // nil: nobody knows
	if p.Env != nil && !t.Config {
		var err error
		if given, err = p.Env(); err != nil {
			given = nil // the configuration is broken, which others say
		}
	}
	root, err := rootOf(built)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // opened for reading
	var entries []fs.DirEntry
	err = walkBeneath(built, ".", func(_ string, e fs.DirEntry) error {
		entries = append(entries, e)
		return fs.SkipDir
	})
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	var broken []string
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), "_") || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		why, err := scanFunction(functionTree{built, root}, e.Name(), given)
		if err != nil {
			return err
		}
		if len(why) > 0 {
			broken = append(broken, fmt.Sprintf("The function %s: %s.", e.Name(), strings.Join(why, "; ")))
		}
	}
	if _, err := root.Stat("main"); err != nil && len(entries) > 0 {
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
func scanFunction(x functionTree, name string, given map[string]bool) (why []string, err error) {
	entry := slices.ContainsFunc([]string{"index.ts", "index.tsx", "index.js", "index.jsx", "index.mjs"}, func(f string) bool { return x.has(path.Join(name, f)) })
	if !entry {
		why = append(why, "it has no index.ts")
	}
	mapped, bad := x.importMap(name)
	why = append(why, bad...)
	err = walkBeneath(x.dir, name, func(file string, d fs.DirEntry) error {
		if !d.Type().IsRegular() || !slices.Contains([]string{".ts", ".tsx", ".js", ".jsx", ".mjs"}, path.Ext(file)) || isLarge(x.dir, file, maxSource) {
			return nil
		}
		text, err := readBeneath(x.dir, file)
		if err != nil {
			return err
		}
		text = comment.ReplaceAll(text, []byte("$1"))
		for _, problem := range append(x.imports(file, text, mapped), variables(text, given)...) {
			if !slices.Contains(why, problem) {
				why = append(why, problem)
			}
		}
		return nil
	})
	return why, err
}

// functionTree is the functions as they were built.
type functionTree struct {
	dir  *os.File
	root *os.Root // which follows the links in it
}

func (x functionTree) has(name string) bool {
	_, err := x.root.Lstat(name)
	return err == nil
}

// imports returns what a module imports and cannot find.
func (x functionTree) imports(file string, text []byte, mapped []string) (why []string) {
	for _, m := range specifier.FindAllSubmatch(text, -1) {
		if problem := x.unresolved(file, string(m[1])+string(m[2])+string(m[3]), mapped); problem != "" {
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
func (x functionTree) unresolved(file, spec string, mapped []string) string {
	switch {
	case strings.HasPrefix(spec, "./"), strings.HasPrefix(spec, "../"):
		at := path.Join(path.Dir(file), spec)
		if strings.HasPrefix(at, "../") || at == ".." || at == "." {
			return fmt.Sprintf("it imports %s, which is outside of the functions", spec)
		}
		if !x.has(at) {
			return fmt.Sprintf("it imports %s, which is not there", spec)
		}
	case strings.Contains(spec, ":"), strings.HasPrefix(spec, "/"): // npm:, jsr:, https://, …
	case !slices.ContainsFunc(mapped, func(m string) bool { return spec == m || strings.HasSuffix(m, "/") && strings.HasPrefix(spec, m) }):
		return fmt.Sprintf("it imports %q, which no deno.json or import_map.json explains", spec)
	}
	return ""
}

var jsonComment = regexp.MustCompile(`(?m)^\s*//.*$`)

// read returns the content of a file, which may be a link to another one.
func (x functionTree) read(name string) ([]byte, error) {
	f, err := x.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	return readRegular(f)
}

// importMap returns the names that the import maps of a function and of the whole
// folder explain, and what is wrong with them.
func (x functionTree) importMap(function string) (names, bad []string) {
	for _, d := range []string{function, "."} {
		for _, f := range []string{"deno.json", "deno.jsonc", "import_map.json", "package.json"} {
			b, err := x.read(path.Join(d, f))
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
