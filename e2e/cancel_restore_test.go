package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/testenv"
)

// TestCancelRestoreOfADatabase cancels a restore while its database is built, of a worker
// that runs and of one that was killed. Nothing is left beside the project, and the next
// restore works.
func TestCancelRestoreOfADatabase(t *testing.T) {
	pg, project := bigDatabase(t)
	dir := t.TempDir()
	d := start(t, config(dir+"/data", dir+"/backups", project, ""))
	d.ready()
	a := d.call("POST", "/backups", full)
	d.want(a, 201)
	id := a.backup()["id"].(string)
	databases := func() string {
		t.Helper()
		return sh(t, dir, fmt.Sprintf("%s/psql -XAt '%s' -c \"SELECT datname, oid FROM pg_database WHERE NOT datistemplate ORDER BY 1\"", pg.Bin, pg.URL("postgres")))
	}
	before := databases()
	for _, killed := range []bool{false, true} {
		r := d.call("POST", "/backups/"+id+"/restore", `{"safetyBackup":false}`, "Prefer", "respond-async")
		d.want(r, 202)
		path := strings.TrimPrefix(r.header.Get("Location"), "/api/v1")
		testenv.Eventually(t, time.Minute, func() error {
			if got := databases(); !strings.Contains(got, "holdfast_new_") {
				return fmt.Errorf("nothing is built yet: %s", got)
			}
			return nil
		})
		if killed {
			d.kill(syscall.SIGKILL)
			d.run()
			d.ready()
		}
		begin := time.Now()
		d.want(d.call("POST", path+"/cancel", ""), 200, `"status":"failed"`, `"reason":"cancelled"`, `"projectState":"unchanged"`)
		t.Logf("killed %v: cancelled in %s", killed, time.Since(begin).Round(100*time.Millisecond))
		d.want(d.call("GET", path, ""), 200, `"status":"failed"`, `"reason":"cancelled"`)
		if got := databases(); got != before {
			t.Errorf("killed %v: databases %s, before %s", killed, got, before)
		}
		left, err := filepath.Glob(dir + "/data/restores/*")
		if err != nil || len(left) > 2 {
			t.Errorf("killed %v: left %v, %v", killed, left, err)
		}
		for _, name := range left { // the list of warnings stays
			if st, err := os.Stat(name); err != nil || st.IsDir() || !strings.HasSuffix(name, ".jsonl") {
				t.Errorf("killed %v: left %s, %v", killed, name, err)
			}
		}
	}
	d.want(d.call("POST", "/backups/"+id+"/restore", `{"safetyBackup":false,"forceRestore":true}`), 200, `"status":"completed"`)
}
