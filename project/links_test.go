package project_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/project"
)

// prey is a project's folder into which others write, and a folder that is none of
// their business.
type prey struct {
	t             *testing.T
	root, outside string
	parts         []project.Part
	archives      map[string][]byte
}

// folders of the prey that its enemy can replace.
var preyFolders = []string{
	"functions", "functions/main", "functions/main/deep", "conf", "conf/deep", ".holdfast-new-abcdefghij", ".holdfast-old-abcdefghij", ".holdfast-undone-abcdefghij",
	"functions/.holdfast-new-abcdefghij", "functions/.holdfast-old-abcdefghij", "functions/.holdfast-undone-abcdefghij",
}

func newPrey(t *testing.T) *prey {
	t.Helper()
	p := &prey{t: t, root: t.TempDir(), outside: t.TempDir(), archives: map[string][]byte{}}
	p.fill("first")
	p.parts = []project.Part{
		&project.FunctionsPart{Path: filepath.Join(p.root, "functions"), Within: p.root},
		&project.ConfigPart{Root: p.root, Include: []string{"**"}, Exclude: []string{"functions"}},
	}
	for _, part := range p.parts {
		b, _, err := dump(t, project.Project{Parts: []project.Part{part}})
		if err != nil {
			t.Fatal(err)
		}
		p.archives[part.Name()] = b
	}
	for _, name := range []string{"main/index.ts", "main/deep/a", "main/deep/secret", "index.ts", "deep/a", "deep/secret", "a", "secret", "functions/main/deep/a", "conf/deep/a", "conf/app.conf", "app.conf"} {
		put(t, filepath.Join(p.outside, name), "s3kret")
	}
	return p
}

// fill makes the files of the project anew.
func (p *prey) fill(text string) {
	p.t.Helper()
	for _, name := range append([]string{"functions", "conf"}, ownNames(p.root)...) {
		if err := os.RemoveAll(filepath.Join(p.root, name)); err != nil {
			p.t.Fatal(err)
		}
	}
	for _, name := range []string{"functions/main/index.ts", "functions/main/deep/a", "functions/other/a", "conf/app.conf", "conf/deep/a"} {
		put(p.t, filepath.Join(p.root, name), text)
	}
}

func ownNames(root string) (out []string) {
	found, _ := filepath.Glob(root + "/.holdfast-*")
	for _, f := range found {
		out = append(out, filepath.Base(f))
	}
	return out
}

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// bite puts a link to the outside in the place of a folder, and spit takes it away.
func (p *prey) bite(name string) {
	at := filepath.Join(p.root, name)
	if os.Rename(at, at+".away") == nil {
		_ = os.Symlink(p.outside, at)
	}
}

func (p *prey) spit(name string) {
	at := filepath.Join(p.root, name)
	if fi, err := os.Lstat(at); err == nil && fi.Mode()&os.ModeSymlink != 0 {
		_ = os.Remove(at)
		_ = os.Rename(at+".away", at)
	}
}

// TestLinksThatAppearDuringARestoreLeadNowhere puts a link in the place of each folder,
// before each change that a swap, an undo and a drop make.
func TestLinksThatAppearDuringARestoreLeadNowhere(t *testing.T) {
	p := newPrey(t)
	before := listBytes(t, p.outside)
	for _, part := range p.parts {
		b := p.archives[part.Name()]
		for _, name := range preyFolders {
			for n, more := 0, true; more; n += 2 {
				p.fill("second")
				to, _ := target(t, b, part.Name(), nil)
				build(t, part.Restoration(to), b, to)
				left, bitten := n, false
				to.Interrupt(func(string) error {
					if left--; left < 0 && !bitten {
						bitten = true
						p.bite(name)
					}
					return nil
				})
				swapped := part.Restoration(to).Swap(t.Context())
				undone := part.Kept(to).Undo(t.Context())
				dropped := errors.Join(part.Kept(to).Drop(t.Context()), part.Restoration(to).Discard(t.Context()))
				if got := listBytes(t, p.outside); got != before {
					t.Fatalf("%s, %s, change %d: the outside has changed: %s (%v, %v, %v)", part.Name(), name, n, firstDiff(before, got), swapped, undone, dropped)
				}
				p.spit(name)
				if more = bitten; !more && errors.Join(swapped, undone, dropped) != nil {
					t.Fatalf("%s: without links: %v, %v, %v", part.Name(), swapped, undone, dropped)
				}
			}
		}
	}
}

// TestARaceOfLinksIsLost by whoever puts them in the place of folders, again and again,
// while backups and restores run.
func TestARaceOfLinksIsLost(t *testing.T) {
	p := newPrey(t)
	before := listBytes(t, p.outside)
	stop := make(chan struct{})
	var enemies sync.WaitGroup
	var one sync.Mutex
	for i := range 2 {
		enemies.Go(func() {
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				name := preyFolders[n*(2*i+1)%len(preyFolders)]
				one.Lock() // or one would rename what the other one's link leads to
				p.bite(name)
				p.spit(name)
				one.Unlock()
			}
		})
	}
	whole := 0
	for range 60 {
		for _, part := range p.parts {
			whole += p.round(part)
		}
	}
	close(stop)
	enemies.Wait()
	for _, name := range preyFolders {
		p.spit(name)
	}
	if got := listBytes(t, p.outside); got != before {
		t.Errorf("the outside has changed: %s", firstDiff(before, got))
	}
	t.Logf("%d of 240 backups and restores were whole", whole)
}

// round backs a part up and restores it, as far as its enemies let it, and returns how
// much of that was done.
func (p *prey) round(part project.Part) (whole int) {
	t := p.t
	if b, _, err := dump(t, project.Project{Parts: []project.Part{part}}); err == nil {
		whole++
		if name := holder(t, b, "s3kret"); name != "" {
			t.Errorf("a backup holds %s of the outside", name)
		}
	}
	b := p.archives[part.Name()]
	to, _ := target(t, b, part.Name(), nil)
	r := part.Restoration(to)
	_, err := r.Check(t.Context())
	if err == nil {
		err = r.Build(t.Context(), reader(b, to.Source))
	}
	if err == nil {
		err = r.Swap(t.Context())
	}
	err = errors.Join(err, part.Kept(to).Undo(t.Context()), part.Kept(to).Drop(t.Context()), r.Discard(t.Context()))
	if err == nil {
		whole++
	}
	return whole
}

// holder returns the name of a file in an archive that holds a text.
func holder(t *testing.T, b []byte, text string) string {
	t.Helper()
	r, err := archive.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return ""
		}
		if err != nil {
			t.Fatal(err)
		}
		if content, err := io.ReadAll(r); err != nil || strings.Contains(string(content)+e.Target, text) {
			return e.Name
		}
	}
}
