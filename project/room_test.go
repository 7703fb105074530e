package project_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-dev/holdfast/project"
)

// TestSparseFilesTakeTheRoomThatTheyTook before, and count for no more.
func TestSparseFilesTakeTheRoomThatTheyTook(t *testing.T) {
	root := t.TempDir()
	write(t, root, "main/index.ts")
	sparse := filepath.Join(root, "main/cache.img")
	sh(t, root, "truncate -s 64M main/cache.img; echo end >> main/cache.img")
	part := &project.FunctionsPart{Path: root}
	b, _, err := dump(t, project.Project{Parts: []project.Part{part}})
	if err != nil {
		t.Fatal(err)
	}
	before := list(t, root)
	sh(t, root, "rm main/cache.img")
	to, _ := target(t, b, project.Functions, nil)
	build(t, part.Restoration(to), b, to)
	if err := part.Restoration(to).Swap(t.Context()); err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(sparse, &st); err != nil || st.Size != 64<<20+4 || st.Blocks*512 > 64<<10 {
		t.Errorf("%d bytes, %d on the disk, %v", st.Size, st.Blocks*512, err)
	}
	if got := list(t, root); got != before {
		t.Error(firstDiff(before, got))
	}
	to.Source.Bytes, to.Source.Zeros = 1<<50, 1<<50-4096
	checks, err := part.Restoration(to).Check(t.Context())
	if got := problems(checks); err != nil || len(got) > 0 {
		t.Errorf("%v, %v", got, err)
	}
	to.Source.Zeros = 0
	checks, err = part.Restoration(to).Check(t.Context())
	if got := problems(checks); err != nil || len(got) != 1 || !strings.Contains(got[0], "The part functions needs 1073741825 MiB on the disk of "+root) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestMinFreeIsKept by the check, and while files are written.
func TestMinFreeIsKept(t *testing.T) {
	for _, c := range []struct {
		part project.Part
		root string
		said string
	}{
		{&project.FunctionsPart{}, "main", "The file main/big (2 MiB) of the part functions has no room on the disk"},
		{&project.StoragePart{}, "stub/stub/secret", "A file (2 MiB) of the part storage has no room on the disk"},
	} {
		root := t.TempDir()
		switch p := c.part.(type) {
		case *project.FunctionsPart:
			p.Path = root
		case *project.StoragePart:
			p.Path = root
		}
		write(t, root, c.root+"/big")
		if err := os.WriteFile(filepath.Join(root, c.root, "big"), []byte(strings.Repeat("data", 1<<19)), 0o600); err != nil {
			t.Fatal(err)
		}
		b, _, err := dump(t, project.Project{Parts: []project.Part{c.part}})
		if err != nil {
			t.Fatal(err)
		}
		before := list(t, root)
		to, _ := target(t, b, c.part.Name(), nil)
		to.MinFree = 1 << 60
		checks, err := c.part.Restoration(to).Check(t.Context())
		if got := problems(checks); err != nil || len(got) != 1 || !strings.Contains(got[0], "must stay free (min_free)") {
			t.Errorf("%v, %v", got, err)
		}
		r := c.part.Restoration(to)
		if err := r.Build(t.Context(), reader(b, to.Source)); err == nil || !strings.Contains(project.Sentence(err), c.said) || strings.Contains(project.Sentence(err), "secret") {
			t.Errorf("got %v", err)
		}
		if err := r.Discard(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := list(t, root); got != before {
			t.Error(firstDiff(before, got))
		}
	}
}

// TestPartsOnOneDiskAreCheckedTogether since each of them alone would have room.
func TestPartsOnOneDiskAreCheckedTogether(t *testing.T) {
	dir := t.TempDir()
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	most := int64(st.Bavail) * st.Bsize * 2 / 3
	fn, cf, db := project.Need{Part: project.Functions, At: dir, Bytes: most}, project.Need{Part: project.Config, At: filepath.Join(dir, "not/there/yet"), Bytes: most}, project.Need{Part: project.Database, At: dir, Bytes: most / 2}
	elsewhere := project.Need{Part: project.Storage, At: "/proc", Bytes: 0}
	for name, c := range map[string]struct {
		needs []project.Need
		want  []string
	}{
		"alone":        {[]project.Need{fn, elsewhere}, nil},
		"together":     {[]project.Need{fn, elsewhere, cf}, []string{"The parts functions (", " MiB) and config (", " together need ", " on the disk of " + dir}},
		"three":        {[]project.Need{fn, cf, db}, []string{"The parts functions (", " MiB), config (", " MiB) and database ("}},
		"one part":     {[]project.Need{db, db, db, db}, []string{"The part database needs "}},
		"min_free":     {[]project.Need{{Part: project.Config, At: dir, Bytes: 1, MinFree: 1 << 60}}, []string{"The part config needs 1 MiB", "1099511627776 MiB of which must stay free (min_free)"}},
		"nothing":      {nil, nil},
		"another disk": {[]project.Need{{Part: project.Storage, At: "/proc", Bytes: 1}, fn}, []string{"The part storage needs 1 MiB on the disk of /proc"}},
	} {
		said := strings.Join(problems([]project.Check{{Needs: c.needs}}), "\n")
		if (said == "") != (c.want == nil) {
			t.Errorf("%s: %s", name, said)
		}
		for _, want := range c.want {
			if !strings.Contains(said, want) {
				t.Errorf("%s: %q is not in %s", name, want, said)
			}
		}
	}
}
