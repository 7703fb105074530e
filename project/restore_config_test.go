package project_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/project"
)

// restoreConfig restores an archive's configuration, undoes nothing, and returns the
// warnings.
func restoreConfig(t *testing.T, p *project.ConfigPart, b []byte, foreign bool) []archive.Warning {
	t.Helper()
	to, ws := target(t, b, project.Config, nil)
	to.Foreign = foreign
	if p.Include == nil {
		p.Include = []string{"**"}
	}
	r := p.Restoration(to)
	build(t, r, b, to)
	if err := r.Swap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Kept(to).Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	return *ws
}

// TestTheDataOfServicesIsNoConfiguration whatever the patterns say.
func TestTheDataOfServicesIsNoConfiguration(t *testing.T) {
	root := t.TempDir()
	write(t, root, ".env", "volumes/db/roles.sql", "mounted/x", "analytics/PG_VERSION", "analytics/global/pg_control", "analytics/base/1", "s3/.minio.sys/format.json", "s3/bucket/a",
		"cache/dump.rdb", "n8n/database.sqlite", "n8n/database.sqlite-wal", "n8n/database.sqlite-shm", "n8n/config", "quiet/app.sqlite")
	if err := os.Truncate(filepath.Join(root, "volumes/db/roles.sql"), 4097); err != nil {
		t.Fatal(err)
	}
	p := &project.ConfigPart{Root: root, Include: []string{"**"}, Data: []string{"mounted"}, MaxFile: 4096}
	b, ws, err := dump(t, project.Project{Parts: []project.Part{p}})
	if err != nil {
		t.Fatal(err)
	}
	got := entries(t, b)
	for _, name := range []string{"config/.env", "config/n8n/config", "config/quiet/app.sqlite", "config/volumes/db"} {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is not there", name)
		}
	}
	for name := range got {
		for _, bad := range []string{"mounted", "analytics", "s3", "cache", "database.sqlite", "roles.sql"} {
			if strings.Contains(name, bad) {
				t.Errorf("%s is there", name)
			}
		}
	}
	said := ""
	for _, w := range ws {
		said += w.Code + " " + w.Sentence + "\n"
	}
	for _, want := range []string{"live_data config: 7 folders or files", "analytics", "file_large config: 1 files are larger than config.max_file and were left out: volumes/db/roles.sql."} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in %s", want, said)
		}
	}
}

// archiveOf makes an archive whose configuration has files that a dump would leave
// out, as those of earlier versions have.
func archiveOf(t *testing.T, names ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := archive.NewWriter(&out, archive.Header{ID: "b", Project: "p", Type: "full", CreatedAt: time.Now()})
	if err == nil {
		err = w.Begin(project.Config)
	}
	for _, name := range names {
		if err == nil {
			err = w.Add(archive.Entry{Name: "config/" + name, Kind: archive.File, Size: 3, Mode: 0o600, ModTime: time.Now()}, strings.NewReader("old"))
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

// TestARestoreNeverWritesIntoTheDataOfServices whatever the archive holds.
func TestARestoreNeverWritesIntoTheDataOfServices(t *testing.T) {
	b := archiveOf(t, ".env", "app/config.db", "link/base/1", "mounted/x", "new/PG_VERSION", "new/global/pg_control", "pg/PG_VERSION", "pg/base/1", "pg/global/pg_control")
	root := t.TempDir()
	write(t, root, ".env", "mounted/x", "pg/PG_VERSION", "pg/base/1", "pg/base/2", "pg/global/pg_control", "app/config.db", "app/config.db-wal")
	if err := os.Symlink("pg", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	p := &project.ConfigPart{Root: root, Data: []string{"mounted"}}
	live := list(t, filepath.Join(root, "pg")) + list(t, filepath.Join(root, "mounted")) + list(t, filepath.Join(root, "app"))
	ws := restoreConfig(t, p, b, false)
	if got := list(t, filepath.Join(root, "pg")) + list(t, filepath.Join(root, "mounted")) + list(t, filepath.Join(root, "app")); got != live {
		t.Errorf("the data has changed: %s", firstDiff(live, got))
	}
	if env, err := os.ReadFile(filepath.Join(root, ".env")); err != nil || string(env) != "old" {
		t.Errorf(".env is %q, %v", env, err)
	}
	if _, err := os.Stat(filepath.Join(root, "new")); err == nil {
		t.Error("the data of a service was restored")
	}
	for _, want := range []string{"pg was not restored", "link was not restored", "mounted was not restored", "new was not restored", "app/config.db was not restored"} {
		if said := sentencesOf(ws); !strings.Contains(said, want) {
			t.Errorf("%q is not in %s", want, said)
		}
	}
}

// TestDataThatAppearsBeforeTheSwapStopsIt since it would be overwritten.
func TestDataThatAppearsBeforeTheSwapStopsIt(t *testing.T) {
	b, root := archiveOf(t, "pg/base/1"), t.TempDir()
	p := &project.ConfigPart{Root: root, Include: []string{"**"}}
	to, _ := target(t, b, project.Config, nil)
	r := p.Restoration(to)
	build(t, r, b, to)
	write(t, root, "pg/PG_VERSION", "pg/global/pg_control", "pg/base/1")
	before := list(t, root)
	if err := r.Swap(t.Context()); err == nil || !strings.Contains(err.Error(), "pg holds the data of a service") {
		t.Errorf("got %v", err)
	}
	if got := list(t, root); got != before {
		t.Errorf("the data has changed: %s", firstDiff(before, got))
	}
}

// TestAForeignRestoreBringsNoDeployment so that the project leads where it led.
func TestAForeignRestoreBringsNoDeployment(t *testing.T) {
	source := t.TempDir()
	kept := []string{".env", ".env.production", "compose.override.yaml", "db.env", "docker-compose.override.yml", "docker-compose.pg17.yml", "docker-compose.yml", "prod/own.yml", "server.key", "stack.env", "target.conf"}
	brought := []string{".env.example", ".env.production.example", "run.sh", "volumes/api/kong.yml"}
	write(t, source, append(kept, brought...)...)
	if err := os.WriteFile(filepath.Join(source, "prod/own.yml"), []byte("# a stack\nservices:\n  db: {ports: [\"5432:5432\"]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, _, err := dump(t, project.Project{Parts: []project.Part{&project.ConfigPart{Root: source, Include: []string{"**"}}}})
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	write(t, root, ".env", "docker-compose.yml")
	before := list(t, root)
	ws := restoreConfig(t, &project.ConfigPart{Root: root, Deployment: []string{"target.conf"}}, b, true)
	for _, name := range brought {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("%s did not come: %v", name, err)
		}
		if err := os.Remove(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	sh(t, root, "rmdir volumes/api volumes")
	if got := list(t, root); got != before {
		t.Errorf("more has come: %s", firstDiff(before, got))
	}
	for _, name := range kept {
		if said := sentencesOf(ws); !strings.Contains(said, "The file "+name+" was not restored") {
			t.Errorf("%s is not named in %s", name, said)
		}
	}
	own := t.TempDir()
	if ws := restoreConfig(t, &project.ConfigPart{Root: own}, b, false); len(ws) > 0 || list(t, own) != list(t, source) {
		t.Errorf("the own configuration does not come back whole: %+v %s", ws, firstDiff(list(t, source), list(t, own)))
	}
}
