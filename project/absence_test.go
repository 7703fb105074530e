package project_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

// TestObjectsWithoutFiles are never left out in silence.
func TestObjectsWithoutFiles(t *testing.T) {
	pg := testenv.NewPostgres(t, 15)
	check := func(a project.Absence, all bool) string {
		t.Helper()
		s, err := project.Open(t.Context(), server(pg.URL("postgres"), pg.Bin))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		w, err := archive.NewWriter(io.Discard, archive.Header{ID: "b", Project: "p", Type: "full", CreatedAt: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abort()
		ws, err := project.Project{Absent: []project.Absence{a}}.CheckAbsent(t.Context(), s, w, all)
		if err != nil {
			return "error: " + err.Error()
		}
		if len(ws) == 0 {
			return ""
		}
		return ws[0].Sentence
	}
	chosen, unnamed, missing := project.Absence{Part: "storage", Chosen: true}, project.Absence{Part: "storage"}, project.Absence{Part: "storage", Sentence: "No service has them; set storage.path."}
	exec := func(sql string) {
		t.Helper()
		if err := pg.Exec(t.Context(), "postgres", sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, before := range []string{"SELECT 1", "CREATE SCHEMA storage; CREATE TABLE storage.objects (id int)"} {
		exec(before)
		for _, a := range []project.Absence{chosen, unnamed, missing} {
			if got := check(a, true); got != "" {
				t.Errorf("without objects: %s", got)
			}
		}
	}
	exec("INSERT INTO storage.objects VALUES (1), (2)")
	for _, c := range []struct {
		absence project.Absence
		all     bool
		want    string
	}{
		{chosen, true, "storage: the files of 2 storage objects are not in this backup, because the configuration says storage: none."},
		{unnamed, true, "because the project has no storage part; set storage.path, or storage: none."},
		{missing, true, "error: The database lists 2 storage objects, but their files cannot be found: No service has them; set storage.path."},
		{missing, false, "storage: the files of 2 storage objects are not in this backup"},
		{project.Absence{Part: "functions"}, true, ""},
	} {
		if got := check(c.absence, c.all); !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%+v: got %q, want %q", c.absence, got, c.want)
		}
	}
}
