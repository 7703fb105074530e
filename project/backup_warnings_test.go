package project_test

import (
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/project"
)

// TestWhatABackupsWarningsMean for the parts that are restored.
func TestWhatABackupsWarningsMean(t *testing.T) {
	ws := []archive.Warning{
		{Part: "config", Code: "file_large", Name: "dump.tar", Sentence: "x"},
		{Part: "storage", Code: "file_vanished", Name: "bucket/secret", Sentence: "bucket/secret was not there any more"},
		{Part: "functions", Code: "file_changed", Name: "a", Sentence: "x"},
		{Part: "storage", Code: "file_vanished", Name: "bucket/b", Sentence: "x"},
		{Part: "database", Code: "vault_key_missing", Sentence: "x"},
		{Part: "database", Code: "extension_rows_missing", Name: "q", Sentence: "x"},
		{Part: "storage", Code: "storage_missing", Sentence: "Five objects have no files."},
	}
	var said, named []string
	for _, w := range project.RestoredWarnings(ws, []string{"database", "storage", "config"}) {
		if w.Sentence != "" {
			said = append(said, w.Sentence)
		} else {
			named = append(named, w.Code+" "+w.Name)
		}
	}
	want := []string{
		"1 files of the part config are larger than config.max_file, so the backup does not hold them; what is there under their names now stays.",
		"2 files of the part storage vanished while the backup was made, so it does not hold them; what is there under their names now is kept with what is replaced, for as long as that is.",
		"The rows of 1 tables of extensions of the part database are not in the backup; the database that is replaced has those of now.",
		"The backup was made with a warning: Five objects have no files.",
	}
	if strings.Join(said, "\n") != strings.Join(want, "\n") {
		t.Errorf("said\n%s\nwant\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
	if got := strings.Join(named, ", "); got != "backup_file_large dump.tar, backup_file_vanished bucket/secret, backup_file_vanished bucket/b, backup_extension_rows_missing q" {
		t.Errorf("named %s", got)
	}
}
