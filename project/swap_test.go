package project_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/project"
)

var errCrash = errors.New("crash")

// cutAt returns a copy of a target whose work ends before its nth change.
func cutAt(to project.Target, n int) (project.Target, *int) {
	left := n
	to.Interrupt(func(string) error {
		if left--; left < 0 {
			return errCrash
		}
		return nil
	})
	return to, &left
}

// TestARestoreIsUndoneToTheByte crashes a swap and its undo before each of their
// changes, with random trees, and lets another process go on.
func TestARestoreIsUndoneToTheByte(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 12))
		root := t.TempDir()
		tree := randomTree{t: t, r: r, root: root, xs: true}
		part := []project.Part{&project.FunctionsPart{Path: root}, &project.ConfigPart{Root: root, Include: []string{"**"}}, &project.StoragePart{Path: root}}[seed%3]
		top := root
		if part.Name() == project.Storage {
			top = filepath.Join(root, "stub/stub")
			if err := os.MkdirAll(top, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		tree.fill(top, 3)
		tree.deep(top, 16)
		b, _, err := dump(t, project.Project{Parts: []project.Part{part}})
		if err != nil {
			t.Fatal(err)
		}
		backedUp := listBytes(t, root)
		change(t, r, top)
		tree.fill(top, 2)
		tree.deep(top, 40) // of a configuration it stays; of others an undo brings it back
		changed := listTree(t, root, movedWhole[part.Name()])
		to, _ := target(t, b, part.Name(), nil)
		wanted := restoreAll(t, part, b, to, root, backedUp, changed)
		for n := 0; ; n++ {
			if !crashSwap(t, part, b, to, root, n, wanted, changed) {
				break
			}
		}
		for n := 0; crashUndo(t, part, b, to, root, n, changed); n++ {
		}
		if left, err := os.ReadDir(filepath.Dir(to.Scratch)); err != nil || len(left) > 0 {
			t.Errorf("left in data_dir: %v %v", left, err)
		}
	}
}

// movedWhole chooses, by part, the folders that a swap moves with all that is in them. The
// times of others change when names in them do.
var movedWhole = map[string]func(dir string) bool{
	project.Functions: func(string) bool { return true },
	project.Storage:   func(dir string) bool { return dir != "stub" },
	project.Config:    func(string) bool { return false },
}

// change removes some of what lies in a folder and changes some.
func change(t *testing.T, r *rand.Rand, top string) {
	t.Helper()
	entries, err := os.ReadDir(top)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		name := filepath.Join(top, e.Name())
		switch {
		case i%3 == 0:
			err = os.RemoveAll(name)
		case e.Type().IsRegular():
			err = os.WriteFile(name, []byte("changed"), 0o600)
		case e.IsDir() && r.IntN(2) == 0:
			change(t, r, name)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// restoreAll restores without a crash, and returns what that leads to.
func restoreAll(t *testing.T, part project.Part, b []byte, to project.Target, root, backedUp, changed string) string {
	t.Helper()
	build(t, part.Restoration(to), b, to)
	if err := part.Restoration(to).Swap(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := listBytes(t, root)
	if part.Name() != project.Config && seconds(got) != seconds(backedUp) {
		t.Fatalf("%s: after the restore: %s", part.Name(), firstDiff(seconds(backedUp), seconds(got)))
	}
	for line := range strings.SplitSeq(seconds(backedUp), "\n") { // of the configuration everything else stays
		if part.Name() == project.Config && !strings.Contains(line, " d") && !strings.Contains(seconds(got), line) {
			t.Fatalf("%s is not restored: %s", line, got)
		}
	}
	undoAndDrop(t, part, to, root, changed)
	return got
}

var nanoseconds = regexp.MustCompile(` (\d+)\d{9} `)

// seconds cuts the times of a list to what an archive holds.
func seconds(list string) string { return nanoseconds.ReplaceAllString(list, " $1 ") }

func undoAndDrop(t *testing.T, part project.Part, to project.Target, root, changed string) {
	t.Helper()
	for range 2 {
		if err := part.Kept(to).Undo(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := listTree(t, root, movedWhole[part.Name()]); got != changed {
		t.Fatalf("%s: after the undo: %s", part.Name(), firstDiff(changed, got))
	}
	r := part.Restoration(to)
	if err := errors.Join(part.Kept(to).Drop(t.Context()), r.Discard(t.Context()), part.Kept(to).Drop(t.Context())); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(root + "/.holdfast-*"); len(left) > 0 {
		t.Fatalf("left behind: %v", left)
	}
	if got := listTree(t, root, movedWhole[part.Name()]); got != changed {
		t.Fatalf("%s: after the drop: %s", part.Name(), firstDiff(changed, got))
	}
}

// crashSwap ends a swap before its nth change. It goes on in one round and is undone
// in the next. It reports whether there was such a change.
func crashSwap(t *testing.T, part project.Part, b []byte, to project.Target, root string, n int, wanted, changed string) bool {
	t.Helper()
	for _, goOn := range []bool{true, false} {
		build(t, part.Restoration(to), b, to)
		cut, left := cutAt(to, n)
		err := part.Restoration(cut).Swap(t.Context())
		if *left >= 0 {
			undoAndDrop(t, part, to, root, changed)
			return false
		}
		if !errors.Is(err, errCrash) {
			t.Fatalf("%d: %v", n, err)
		}
		if goOn {
			begun := len(sh(t, filepath.Dir(to.Scratch), "ls *.swap 2>/dev/null || true")) > 0
			if begun && listBytes(t, root) != wanted && part.Kept(to).Drop(t.Context()) == nil {
				t.Fatalf("%d: a swap that was cut off was dropped", n)
			}
			if err := part.Restoration(to).Swap(t.Context()); err != nil {
				t.Fatalf("%d: %v", n, err)
			}
			if got := listBytes(t, root); got != wanted {
				t.Fatalf("%d: after going on: %s", n, firstDiff(wanted, got))
			}
		}
		undoAndDrop(t, part, to, root, changed)
	}
	return true
}

// crashUndo is crashSwap for an undo.
func crashUndo(t *testing.T, part project.Part, b []byte, to project.Target, root string, n int, changed string) bool {
	t.Helper()
	build(t, part.Restoration(to), b, to)
	if err := part.Restoration(to).Swap(t.Context()); err != nil {
		t.Fatal(err)
	}
	cut, left := cutAt(to, n)
	err := part.Kept(cut).Undo(t.Context())
	if *left < 0 && !errors.Is(err, errCrash) || *left >= 0 && err != nil {
		t.Fatalf("%d: %v", n, err)
	}
	undoAndDrop(t, part, to, root, changed)
	return *left < 0
}

// TestNamesThatAreNoText come back under the same bytes, and an undo brings the
// others back.
func TestNamesThatAreNoText(t *testing.T) {
	for _, kind := range []string{project.Functions, project.Config} {
		root := t.TempDir()
		write(t, root, "main/index.ts", "caf\xe9/index.ts", ".env", "caf\xe9.conf", "\xfe", "\xff")
		part := map[string]project.Part{project.Functions: &project.FunctionsPart{Path: root}, project.Config: &project.ConfigPart{Root: root, Include: []string{"**"}}}[kind]
		b, _, err := dump(t, project.Project{Parts: []project.Part{part}})
		if err != nil {
			t.Fatal(err)
		}
		before := listBytes(t, root)
		for _, name := range []string{"caf\xe9/index.ts", "caf\xe9.conf", "\xff"} {
			if err := os.WriteFile(filepath.Join(root, name), []byte("changed"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		changed := listTree(t, root, movedWhole[kind])
		to, _ := target(t, b, kind, nil)
		restoreAll(t, part, b, to, root, before, changed)
	}
}

// TestWhatCannotBeFoundIsNeverRemoved takes away, by hand, what a swap relies on.
func TestWhatCannotBeFoundIsNeverRemoved(t *testing.T) {
	for name, c := range map[string]struct {
		script string // in the root, after the swap
		record bool   // is lost
		undo   string
		drop   string
		kept   []string // must be there in the end
	}{
		"the record":            {"true", true, "record of what the restore has moved is not in data_dir", "move it by hand", []string{".holdfast-old-abcdefghij/a", "a"}},
		"the kept folder":       {"mv .holdfast-old-abcdefghij elsewhere", false, "Is its disk mounted?", "", []string{"a", "elsewhere/a"}},
		"one of the kept":       {"mv .holdfast-old-abcdefghij/a elsewhere", false, "1 of the files and folders", "", []string{"b", "elsewhere"}},
		"a restored one":        {"rm -r a", false, "", "", []string{"a/old", "b"}},
		"one that is new there": {"touch c", false, "", "", []string{"a/old", "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root, "a/x", "b")
			part := &project.FunctionsPart{Path: root}
			b, _, err := dump(t, project.Project{Parts: []project.Part{part}})
			if err != nil {
				t.Fatal(err)
			}
			sh(t, root, "mv a/x a/old")
			to, _ := target(t, b, project.Functions, nil)
			build(t, part.Restoration(to), b, to)
			if err := part.Restoration(to).Swap(t.Context()); err != nil {
				t.Fatal(err)
			}
			sh(t, root, c.script)
			if c.record {
				sh(t, filepath.Dir(to.Scratch), "rm *")
			}
			said := func(when, want string, err error) {
				t.Helper()
				if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
					t.Errorf("%s: got %v, want %q", when, err, want)
				}
			}
			for range 2 {
				said("undo", c.undo, part.Kept(to).Undo(t.Context()))
			}
			said("drop", c.drop, part.Kept(to).Drop(t.Context()))
			for _, name := range c.kept {
				if _, err := os.Lstat(path.Join(root, name)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestAFolderThatIsMadeAgainDuringTheSwap as running services do.
func TestAFolderThatIsMadeAgainDuringTheSwap(t *testing.T) {
	root := t.TempDir()
	write(t, root, "stub/stub/bucket/a/v", "other")
	part := &project.StoragePart{Path: root}
	b, _, err := dump(t, project.Project{Parts: []project.Part{part}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, root, "stub/stub/bucket/b/v")
	changed, upload := listTree(t, root, movedWhole[part.Name()]), ""
	to, ws := target(t, b, project.Storage, nil)
	to.Interrupt(func(string) error {
		if _, err := os.Stat(filepath.Join(root, "stub/stub")); upload == "" && os.IsNotExist(err) {
			upload = "stub/stub/bucket/c/v"
			write(t, root, upload)
		}
		return nil
	})
	build(t, part.Restoration(to), b, to)
	if err := part.Restoration(to).Swap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(sentencesOf(*ws), "made again during the swap") || upload == "" {
		t.Errorf("warnings %+v", *ws)
	}
	if got := list(t, root); strings.Contains(got, "bucket/b") || strings.Contains(got, "bucket/c") {
		t.Errorf("more than the backup is there: %s", got)
	}
	if found := sh(t, root, "find . -path '*bucket/c/v'"); !strings.HasPrefix(found, "./.holdfast-old-") {
		t.Errorf("the upload is at %q", found)
	}
	undoAndDrop(t, part, to, root, changed)
}

// TestAServicesLinksStay although no backup can hold them.
func TestAServicesLinksStay(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	write(t, root, "main/index.ts", "hello/index.ts", "gone/index.ts")
	links := map[string]string{"shared": outside, "hello/lib": "../../lib", "main/self": "index.ts"}
	for name, to := range links {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	part := &project.FunctionsPart{Path: root}
	b, _, err := dump(t, project.Project{Parts: []project.Part{part}})
	if err != nil {
		t.Fatal(err)
	}
	before := listBytes(t, root)
	sh(t, root, "rm main/self; ln -s /nowhere main/new; mkdir late; ln -s /nowhere late/link; echo changed > hello/index.ts")
	changed := listTree(t, root, movedWhole[project.Functions])
	to, ws := target(t, b, project.Functions, nil)
	build(t, part.Restoration(to), b, to)
	if err := part.Restoration(to).Swap(t.Context()); err != nil {
		t.Fatal(err)
	}
	sh(t, root, "test -L main/new; rm main/new; test ! -e late")
	if got := listBytes(t, root); seconds(got) != seconds(before) {
		t.Errorf("after the restore: %s", firstDiff(before, got))
	}
	var named []string
	for _, w := range *ws {
		if w.Code == "link_kept" {
			named = append(named, w.Name)
		}
	}
	slices.Sort(named)
	if !slices.Equal(named, []string{"hello/lib", "main/new", "shared"}) || !strings.Contains(sentencesOf(*ws), "3 symbolic links of the part functions lead out of its folder") {
		t.Errorf("warnings %+v", *ws)
	}
	undoAndDrop(t, part, to, root, changed)
}

// TestAConfigurationNeverGoesThroughLinks of the folder that it is restored into, nor
// takes the place of a folder.
func TestAConfigurationNeverGoesThroughLinks(t *testing.T) {
	b := archiveOf(t, "a/b", "link/conf", "plain", "tree")
	root, outside := t.TempDir(), t.TempDir()
	write(t, root, "a", "tree/mine")
	write(t, outside, "conf", "env")
	for name, to := range map[string]string{"link": outside, "plain": outside + "/env"} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	before := listBytes(t, outside)
	ws := restoreConfig(t, &project.ConfigPart{Root: root}, b, false)
	if got := listBytes(t, outside); got != before {
		t.Errorf("files outside have changed: %s", firstDiff(before, got))
	}
	if got := sh(t, root, "cat a plain tree/mine; readlink link"); got != "aoldtree/mine"+outside+"\n" {
		t.Errorf("got %q", got)
	}
	for _, want := range []string{"a was not restored: a file is in its place", "link was not restored: a symbolic link is in its place", "tree was not restored: a folder is in its place"} {
		if said := sentencesOf(ws); !strings.Contains(said, want) {
			t.Errorf("%q is not in %s", want, said)
		}
	}
}

// TestStorageBehindALinkIsRefused since the link would be replaced by a folder.
func TestStorageBehindALinkIsRefused(t *testing.T) {
	source := t.TempDir()
	write(t, source, "stub/stub/bucket/a/v")
	b, _, err := dump(t, project.Project{Parts: []project.Part{&project.StoragePart{Path: source}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"stub", "stub/stub"} {
		root, disk := t.TempDir(), t.TempDir()
		write(t, disk, "stub/bucket/b/v")
		sh(t, root, "mkdir -p "+path.Dir(name)+"; ln -s "+disk+" "+name)
		to, _ := target(t, b, project.Storage, nil)
		checks, err := (&project.StoragePart{Path: root}).Restoration(to).Check(t.Context())
		if got := problems(checks); err != nil || len(got) != 1 || !strings.Contains(got[0], "is or lies behind a symbolic link") {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
