package supabase_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/project/supabase"
)

var update = flag.Bool("update", false, "write the golden files anew")

// layout splits a file of testdata: a line "-- name --" begins each of its files.
func layout(text string) map[string]string {
	files := map[string]string{}
	for section := range strings.SplitSeq("\n"+text, "\n-- ") {
		if name, body, ok := strings.Cut(section+"\n", " --\n"); ok {
			files[name] = body
		}
	}
	return files
}

// layoutFolder makes the folder of a layout.
func layoutFolder(t *testing.T, name string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "demo")
	for file, content := range layout(text(t, name)) {
		if !slices.Contains([]string{"want", "containers", "allowed"}, file) {
			write(t, filepath.Join(dir, file), content)
		}
	}
	return dir
}

// containers scripts a docker that knows the containers of a folder. Each line of a
// layout has name, service and address of one.
func containers(text, dir string) string {
	if text == "" {
		return container("demo-db-1", "172.18.0.5", of(dir))
	}
	script := ""
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 3 {
			script += fmt.Sprintf("[ \"$1\" = ps ] && case \"$*\" in *working_dir=%s*service=%s*) echo %s; exit;; esac\n", dir, f[1], f[0]) +
				strings.TrimSuffix(container(f[0], f[2], of(dir)), noDocker) + "\n"
		}
	}
	return script + noDocker
}

// TestLayouts finds the projects of folders in the shape that installers and panels
// make. What must be found stands at the end of each file of testdata, and before it
// which paths the operator must allow.
func TestLayouts(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) < 17 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			dir, b := layoutFolder(t, name), text(t, name)
			files := layout(b)
			p := find(t, dir, supabase.Options{AllowedPaths: strings.Fields(files["allowed"]), VolumeRoot: filepath.Join(dir, "../volumes"), Docker: docker(t, containers(files["containers"], dir))})
			url, err := p.Server.URL(t.Context())
			if err != nil {
				url = err.Error()
			}
			got := strings.Join(append([]string{url, describe(p, dir), "from " + p.Origins["database"]}, p.Notes...), "\n") + "\n"
			got = strings.ReplaceAll(strings.ReplaceAll(got, dir, "DIR"), filepath.Dir(dir), "PARENT")
			if *update {
				head, _, _ := strings.Cut(b, "-- want --\n")
				if err := os.WriteFile(name, []byte(head+"-- want --\n"+got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if want := strings.TrimRight(files["want"], "\n") + "\n"; got != want && !*update {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
