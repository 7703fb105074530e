package project_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/project"
)

// TestProjectsThatShareFolders are found, whichever way they share one.
func TestProjectsThatShareFolders(t *testing.T) {
	root, elsewhere := t.TempDir(), t.TempDir()
	write(t, root, "a/.env", "a/volumes/functions/main/index.ts", "a/staging/.env", "b/.env", "files/stub/stub/x", "files/stub/other/x")
	if err := os.Symlink("a", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(root, name) }
	config := func(dir string, exclude ...string) project.Part {
		return &project.ConfigPart{Root: at(dir), Include: []string{"**"}, Exclude: exclude}
	}
	if err := os.Symlink("../a", filepath.Join(root, "b/out")); err != nil {
		t.Fatal(err)
	}
	functions := func(dir string) project.Part { return &project.FunctionsPart{Path: at(dir)} }
	for name, c := range map[string]struct {
		a, b []project.Part
		want []string // project and part whose restore would change the other's files
	}{
		"nothing":                {[]project.Part{config("a", "staging")}, []project.Part{config("b"), functions("a/staging")}, nil},
		"functions":              {[]project.Part{functions("a/volumes/functions")}, []project.Part{functions("a/volumes/functions")}, []string{"a functions", "b functions"}},
		"by a link":              {[]project.Part{functions("a")}, []project.Part{functions("link")}, []string{"a functions", "b functions"}},
		"by a link out":          {[]project.Part{functions("a")}, []project.Part{&project.FunctionsPart{Path: at("b/out"), Within: at("b")}}, nil},
		"in its folder":          {[]project.Part{functions("a/volumes")}, []project.Part{&project.FunctionsPart{Path: at("a/volumes/functions"), Within: at("link")}}, []string{"a functions"}},
		"storage":                {[]project.Part{&project.StoragePart{Path: at("files")}}, []project.Part{&project.StoragePart{Path: at("files"), Tenant: "stub/stub"}}, []string{"a storage", "b storage"}},
		"two tenants":            {[]project.Part{&project.StoragePart{Path: at("files")}}, []project.Part{&project.StoragePart{Path: at("files"), Tenant: "stub/other"}}, nil},
		"the compose folder":     {[]project.Part{config("a")}, []project.Part{config("a")}, []string{"a config", "b config"}},
		"a folder in the folder": {[]project.Part{config("a")}, []project.Part{config("a/staging")}, []string{"a config"}},
		"functions in it":        {[]project.Part{config("b")}, []project.Part{functions("b/not/there")}, []string{"a config"}},
		"left out":               {[]project.Part{config("a", "volumes/**")}, []project.Part{functions("a/volumes/functions")}, nil},
		"data of a service":      {[]project.Part{&project.ConfigPart{Root: at("a"), Include: []string{"**"}, Data: []string{"staging"}}}, []project.Part{config("a/staging")}, nil},
		"own parts":              {[]project.Part{config("a"), functions("a/volumes/functions")}, []project.Part{config("b")}, nil},
		"other files":            {[]project.Part{&project.ConfigPart{Root: root, Include: []string{"a/**"}}}, []project.Part{&project.ConfigPart{Root: root, Include: []string{"b/**"}}}, nil},
		"names alike":            {[]project.Part{functions("a")}, []project.Part{functions("a-copy")}, nil},
		"names alike and within": {[]project.Part{functions("a")}, []project.Part{functions("a-copy"), functions("a/x")}, []string{"a functions"}},
		"storage in functions":   {[]project.Part{functions(".")}, []project.Part{&project.StoragePart{Path: at("files")}}, []string{"a functions"}},
	} {
		var got []string
		for _, o := range project.Overlaps(map[string]project.Project{"a": {Parts: c.a}, "b": {Parts: c.b}, "c": {Parts: []project.Part{&project.FunctionsPart{Path: elsewhere}}}}) {
			got = append(got, o.Project+" "+o.Part)
			if !strings.Contains(o.Sentence, root) || o.Other == o.Project {
				t.Errorf("%s: %+v", name, o)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
