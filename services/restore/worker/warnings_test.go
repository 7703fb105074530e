package worker

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/archive"
)

// TestNoWarningIsLostToALongOne goes on with the list of another attempt.
func TestNoWarningIsLostToALongOne(t *testing.T) {
	name := filepath.Join(t.TempDir(), "w", "a.jsonl")
	said := []string{"one", strings.Repeat("long ", 100_000), "three", "four"}
	for i := range said {
		ws, err := openWarnings(name, i > 0)
		if err != nil {
			t.Fatal(err)
		}
		ws.add(archive.Warning{Code: "c", Sentence: said[i]})
		if len(ws.all) != i+1 {
			t.Fatalf("%d warnings are known, want %d", len(ws.all), i+1)
		}
		for k, w := range ws.all {
			if w.Sentence != said[k] {
				t.Errorf("warning %d is another", k)
			}
		}
		ws.close()
	}
}
