package project_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-dev/holdfast/project"
)

// hold runs a process that keeps files open until the test ends.
func hold(t *testing.T, root, script string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script+"; echo ready; read _")
	cmd.Dir = root
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = in.Close(), cmd.Wait() })
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
}

// keepMapped keeps a file mapped and closed until the test ends.
func keepMapped(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := syscall.Mmap(int(f.Fd()), 0, 1, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(b) })
}

// TestFilesThatAreOpenAreNoConfiguration and no restore writes over them. What is only
// read stays configuration.
func TestFilesThatAreOpenAreNoConfiguration(t *testing.T) {
	root := t.TempDir()
	write(t, root, ".env", "app/data.bin", "app/lock", "app/mapped", "app/read", "app/settings.yml")
	if err := os.Symlink("app/data.bin", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	p := &project.ConfigPart{Root: root, Include: []string{"**"}}
	all, _, err := dump(t, project.Project{Parts: []project.Part{p}})
	if err != nil {
		t.Fatal(err)
	}
	hold(t, root, "exec 3<>app/data.bin 4>>app/lock 5<app/read")
	keepMapped(t, filepath.Join(root, "app/mapped"))
	b, ws, err := dump(t, project.Project{Parts: []project.Part{p}})
	if err != nil {
		t.Fatal(err)
	}
	got := entries(t, b)
	for name, want := range map[string]bool{".env": true, "app/data.bin": false, "app/lock": false, "app/mapped": false, "app/read": true, "app/settings.yml": true, "link": true} {
		if _, ok := got["config/"+name]; ok != want {
			t.Errorf("%s is there: %v", name, ok)
		}
	}
	if len(ws) != 1 || ws[0].Count != 3 || !strings.Contains(ws[0].Sentence, "config: 3 folders or files hold the data of a service and are no configuration, so they were left out: app/") {
		t.Errorf("warnings: %+v", ws)
	}
	if m, err := project.Measure(t.Context(), p); err != nil || m.Files != 3 {
		t.Errorf("measured %+v, %v", m, err)
	}
	for _, name := range []string{".env", "app/data.bin", "app/lock", "app/mapped", "app/read"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte("now"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said := sentencesOf(restoreConfig(t, p, all, false))
	for name, want := range map[string]string{".env": "x", "app/data.bin": "now", "app/lock": "now", "app/mapped": "now", "app/read": "x"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || strings.TrimSpace(string(text)) != want && (want == "now") != (string(text) == "now") {
			t.Errorf("%s is %q, %v", name, text, err)
		}
		if strings.Contains(said, name+" was not restored") != (want == "now") {
			t.Errorf("%s: %s", name, said)
		}
	}
}

// TestAFileThatIsOpenedBeforeTheSwapStopsIt since it would be replaced under its service.
func TestAFileThatIsOpenedBeforeTheSwapStopsIt(t *testing.T) {
	root := t.TempDir()
	write(t, root, "app/data.bin")
	p := &project.ConfigPart{Root: root, Include: []string{"**"}}
	b := archiveOf(t, "app/data.bin")
	to, _ := target(t, b, project.Config, nil)
	r := p.Restoration(to)
	build(t, r, b, to)
	hold(t, root, "exec 3<>app/data.bin")
	before := list(t, root)
	if err := r.Swap(t.Context()); err == nil || !strings.Contains(err.Error(), "app/data.bin holds the data of a service, or is open in one") {
		t.Errorf("got %v", err)
	}
	if got := list(t, root); got != before {
		t.Errorf("the files have changed: %s", firstDiff(before, got))
	}
}
