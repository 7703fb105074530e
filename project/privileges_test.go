package project_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/project"
)

// forged returns an archive of the functions with entries that a backup does not have.
func forged(t *testing.T, entries ...archive.Entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := archive.NewWriter(&out, archive.Header{ID: "b", Project: "p", Type: "full", CreatedAt: time.Now()})
	if err == nil {
		err = w.Begin(project.Functions)
	}
	for _, e := range entries {
		if err == nil {
			e.ModTime = time.Unix(1e9, 0)
			err = w.Add(e, strings.NewReader("data"))
		}
	}
	if err == nil {
		_, err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestARestoreGivesNobodyRights that only root can give: who may write to a destination
// would have them. Bits come back if the configuration says so.
func TestARestoreGivesNobodyRights(t *testing.T) {
	capability := string([]byte{1, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0}) // all of them, effective
	b := forged(t,
		archive.Entry{Name: "functions/dir", Kind: archive.Dir, Mode: 0o755 | fs.ModeSetgid | fs.ModeSticky},
		archive.Entry{Name: "functions/dir/sh", Kind: archive.File, Size: 4, Mode: 0o755 | fs.ModeSetuid | fs.ModeSetgid, Xattrs: map[string]string{"security.capability": capability, "trusted.x": "y", "user.kept": "z"}},
		archive.Entry{Name: "functions/plain", Kind: archive.File, Size: 4, Mode: 0o644},
	)
	for _, allowed := range []bool{false, true} {
		root := t.TempDir()
		part := &project.FunctionsPart{Path: root}
		to, ws := target(t, b, project.Functions, nil)
		to.PrivilegedModes = allowed
		build(t, part.Restoration(to), b, to)
		if err := part.Restoration(to).Swap(t.Context()); err != nil {
			t.Fatal(err)
		}
		bits := fs.ModeSetuid | fs.ModeSetgid
		for name, want := range map[string]fs.FileMode{"dir": fs.ModeSetgid, "dir/sh": bits, "plain": 0} {
			fi, err := os.Lstat(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			if got := fi.Mode() & bits; allowed && got != want || !allowed && got != 0 {
				t.Errorf("allowed %t: %s has %v", allowed, name, fi.Mode())
			}
			if name == "dir" && fi.Mode()&fs.ModeSticky == 0 {
				t.Errorf("%s has lost another bit: %v", name, fi.Mode())
			}
		}
		buf := make([]byte, 64)
		for attr, want := range map[string]bool{"security.capability": false, "trusted.x": false, "user.kept": true} {
			if _, err := unix.Getxattr(filepath.Join(root, "dir/sh"), attr, buf); (err == nil) != want {
				t.Errorf("allowed %t: %s: %v", allowed, attr, err)
			}
		}
		if said := sentencesOf(*ws); !strings.Contains(said, "dir/sh") || !strings.Contains(said, "restore.privileged_modes") || allowed == strings.Contains(said, "2 files or folders of the part functions") {
			t.Errorf("allowed %t: said %s", allowed, said)
		}
	}
}

// TestOnlyIncludedNamesComeBack whatever the archive holds.
func TestOnlyIncludedNamesComeBack(t *testing.T) {
	b, root := archiveOf(t, ".env", "bin/run", "etc/cron.d/job", "etc/app.conf", "volumes/api/kong.yml"), t.TempDir()
	write(t, root, "bin/run")
	p := &project.ConfigPart{Root: root, Include: []string{".env", "etc", "volumes/**"}, Exclude: []string{"etc/cron.d"}}
	before := sh(t, root, "cat bin/run")
	ws := restoreConfig(t, p, b, false)
	if got := sh(t, root, "find . -type f | sort; cat bin/run"); got != "./.env\n./bin/run\n./etc/app.conf\n./volumes/api/kong.yml\n"+before {
		t.Errorf("got %s", got)
	}
	if said := sentencesOf(ws); !strings.Contains(said, "2 files or folders of the backup were not restored") || !strings.Contains(said, "bin/run, etc/cron.d/job") {
		t.Errorf("said %s", said)
	}
}

// TestNamesOfOursAreInNoBackup since a restore gives them. What it keeps itself needs no
// warning.
func TestNamesOfOursAreInNoBackup(t *testing.T) {
	root := t.TempDir()
	write(t, root, "main/index.ts", ".holdfast-moved.json", ".holdfast-old-abcdefghij/x", "main/.holdfast-new-a1/x", "main/.holdfast-notes")
	sh(t, root, "chmod 755 .holdfast-old-abcdefghij main/.holdfast-new-a1; mkdir -m 700 .holdfast-old-0123456789; touch .holdfast-old-0123456789/y")
	b, ws, err := dump(t, project.Project{Parts: []project.Part{&project.FunctionsPart{Path: root}}})
	if err != nil {
		t.Fatal(err)
	}
	got := entries(t, b)
	for name, want := range map[string]bool{"functions/main/.holdfast-notes": true, "functions/.holdfast-moved.json": false, "functions/.holdfast-old-abcdefghij": false, "functions/.holdfast-old-0123456789": false, "functions/main/.holdfast-new-a1": false} {
		if _, ok := got[name]; ok != want {
			t.Errorf("%s: %t, want %t", name, ok, want)
		}
	}
	if len(ws) != 1 || ws[0].Count != 3 {
		t.Errorf("warnings %+v", ws)
	}
}
