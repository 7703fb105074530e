package project_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

// TestRowsThatLeadToOneFile bring it into the archive once, and back.
func TestRowsThatLeadToOneFile(t *testing.T) {
	pg := testenv.NewPostgres(t, 15)
	if err := pg.Exec(t.Context(), "postgres", `CREATE SCHEMA storage; CREATE TABLE storage.objects (bucket_id text, name text, version text, metadata jsonb);
		INSERT INTO storage.objects VALUES ('pics', 'bike/photo.png', NULL), ('pics', 'bike//photo.png', NULL), ('pics', 'bike/./photo.png', NULL), ('pics', 'bike/photo.png/', NULL),
		('pics', 'x/../bike/photo.png', NULL), ('pics', 'a', 'b'), ('pics', 'a/b', NULL), ('pics', 'bike-2', 'v'), ('pics', 'bike/more', 'v')`); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	write(t, root, "stub/stub/pics/bike/photo.png", "stub/stub/pics/a/b", "stub/stub/pics/bike-2/v", "stub/stub/pics/bike/more/v")
	before := list(t, root)
	part, srv := &project.StoragePart{Path: root}, server(pg.URL("postgres"), pg.Bin)
	b, ws, err := dump(t, project.Project{Parts: []project.Part{part}, Server: srv})
	if err != nil || len(ws) != 0 {
		t.Fatalf("%v, %+v", err, ws)
	}
	if got := len(entries(t, b)); got != 12 { // as strictly as a verification reads
		t.Errorf("%d entries", got)
	}
	to, rws := target(t, b, project.Storage, srv)
	sh(t, root, "rm -r stub")
	build(t, part.Restoration(to), b, to)
	if err := part.Restoration(to).Swap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := list(t, root); got != before || len(*rws) != 0 {
		t.Errorf("%s, %+v", firstDiff(before, got), *rws)
	}
}

// TestWhatNoArchiveCanHold is left out with a warning that says why, and the backup
// can be restored.
func TestWhatNoArchiveCanHold(t *testing.T) {
	root := t.TempDir()
	write(t, root, "main/index.ts", "attributes")
	for _, name := range []string{"user.a", "user.b=c"} {
		if err := unix.Setxattr(root+"/attributes", name, []byte("x"), 0); err != nil {
			t.Fatal(err)
		}
	}
	d, err := os.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 { // 4000 bytes, then too many
		if err := d.Mkdir(strings.Repeat("d", 199), 0o700); err != nil {
			t.Fatal(err)
		}
		next, err := d.OpenRoot(strings.Repeat("d", 199))
		if err != nil {
			t.Fatal(err)
		}
		d = next
	}
	for _, name := range []string{"ok" + strings.Repeat("x", 78), strings.Repeat("y", 99)} {
		if f, err := d.Create(name); err != nil || f.Close() != nil {
			t.Fatal(err)
		}
	}
	part := &project.FunctionsPart{Path: root}
	b, ws, err := dump(t, project.Project{Parts: []project.Part{part}})
	if err != nil {
		t.Fatal(err)
	}
	said := ""
	for _, w := range ws {
		said += fmt.Sprintln(w.Code, w.Count, w.Sentence)
	}
	for _, want := range []string{"name_skipped 1 functions: 1 files or folders were left out, because no archive can hold their names", "attributes_skipped 1 functions: extended attributes of 1 files"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in %s", want, said)
		}
	}
	r, err := archive.NewReader(bytes.NewReader(b))
	for err == nil {
		_, err = r.Next()
	}
	if named := fmt.Sprint(r.Warnings()); !errors.Is(err, io.EOF) || !strings.Contains(named, "user.b=c of attributes are too large, or have no plain names") || !strings.Contains(named, "no archive can hold a name of 4099 bytes") {
		t.Errorf("%v: %.200s", err, named)
	}
	to, _ := target(t, b, project.Functions, nil)
	build(t, part.Restoration(to), b, to)
	if err := part.Restoration(to).Swap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := sh(t, root, "find . -name 'okx*' -not -path './.holdfast*' | wc -c; getfattr --absolute-names -n user.a --only-values attributes"); got != "4083\nx" {
		t.Errorf("got %s", got)
	}
}

// TestADryRunReadsAsStrictlyAsARestore of the databases, and so does a verification.
func TestADryRunReadsAsStrictlyAsARestore(t *testing.T) {
	const content = `{"databases":{"postgres":{}}}`
	for name, c := range map[string]struct {
		files []string
		want  string
	}{
		"whole":             {[]string{"globals.sql", "fingerprint.json"}, ""},
		"no fingerprint":    {[]string{"globals.sql"}, "the fingerprint of its databases is missing or cannot be read"},
		"a folder below":    {[]string{"a/b/0000000", "fingerprint.json"}, "it holds something unsafe"},
		"a dump that is no": {[]string{"postgres.dump/0000000", "fingerprint.json"}, "the dump of a database in it cannot be read"},
		"two that meet":     {[]string{"a/0000000", "b", "a/0000001", "fingerprint.json"}, "it holds the same name twice"},
	} {
		var out bytes.Buffer
		w, err := archive.NewWriter(&out, archive.Header{ID: "b", Project: "p", Type: "full"})
		if err == nil {
			err = w.Begin(project.Database)
		}
		for _, f := range c.files {
			if err == nil {
				err = w.Add(archive.Entry{Name: "database/" + f, Kind: archive.File, Size: int64(len(content)), Mode: 0o600}, strings.NewReader(content))
			}
		}
		m, cerr := w.Close()
		if err != nil || cerr != nil {
			t.Fatal(err, cerr)
		}
		_, serr := project.Spool(reader(out.Bytes(), m.Parts[0]), t.TempDir()+"/scratch")
		prints, ierr := project.Inspect(reader(out.Bytes(), m.Parts[0]))
		whole, err := archive.NewReader(&out)
		if err != nil {
			t.Fatal(err)
		}
		verr := project.Verify(whole)
		for what, err := range map[string]error{"a restore": serr, "a dry run": ierr, "a verification": verr} {
			if (err != nil) != (c.want != "") || err != nil && project.Damage(err) != c.want {
				t.Errorf("%s: %s says %v", name, what, err)
			}
		}
		if c.want == "" && string(prints) != content {
			t.Errorf("%s: the fingerprint is %q", name, prints)
		}
	}
}
