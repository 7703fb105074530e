package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/testenv"
)

// failed checks that a backup ended in a sentence, a row of the list, and nothing
// at the destination.
func failed(t *testing.T, d *daemon, a answer, dir, sentence string) {
	t.Helper()
	d.want(a, 500, `{"success":false,"error":"Backup failed: `, sentence, `"code":"backup_failed"`)
	d.want(d.call("GET", "/backups?status=failed", ""), 200, `"total":1`, `"reason":"source"`, sentence)
	if got := objects(t, dir); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

func TestWrongPassword(t *testing.T) {
	pg := testenv.NewPostgres(t, 15)
	dir := t.TempDir()
	url := strings.Replace(pg.URL("postgres"), testenv.Password, "wrong", 1)
	d := start(t, config(dir+"/data", dir+"/backups", fmt.Sprintf(`{id: p, database: {url: "%s", tools: %s}}`, url, pg.Bin), ""))
	d.ready()
	failed(t, d, d.call("POST", "/backups", full), dir+"/backups", "refused the password")
}

func TestLockedTable(t *testing.T) {
	pg, project := bigDatabase(t)
	dir := t.TempDir()
	d := start(t, config(dir+"/data", dir+"/backups", project, ""))
	d.ready()
	conn, err := pgx.Connect(t.Context(), pg.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE big"); err != nil {
		t.Fatal(err)
	}
	failed(t, d, d.call("POST", "/backups", full), dir+"/backups", "waited too long for a lock")
	if _, err := conn.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	d.want(d.call("POST", "/backups", full), 201)
}

// TestServerGoneHalfWay crashes the database while it is dumped, for good.
func TestServerGoneHalfWay(t *testing.T) {
	pg, project := bigDatabase(t)
	dir := t.TempDir()
	d := start(t, config(dir+"/data", dir+"/backups", project, ""))
	d.ready()
	answers := make(chan answer, 1)
	go func() {
		a, _ := d.try("POST", "/backups", full)
		answers <- a
	}()
	d.writing(dir + "/backups")
	pg.Signal(syscall.SIGQUIT)
	failed(t, d, <-answers, dir+"/backups", "cannot be reached; is it running?")
}

// TestServerBackAgain crashes the database while it is dumped, and starts it again:
// the next attempt completes, or the one after it where the server is slow.
func TestServerBackAgain(t *testing.T) {
	pg, project := bigDatabase(t)
	dir := t.TempDir()
	d := start(t, config(dir+"/data", dir+"/backups", project, ""))
	d.ready()
	d.want(d.call("POST", "/backups", full, "Prefer", "respond-async", "Idempotency-Key", "k"), 202)
	d.writing(dir + "/backups")
	pg.Signal(syscall.SIGQUIT)
	if err := pg.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 60*time.Second, func() error {
		if a := d.call("GET", "/backups", ""); !strings.Contains(a.body, "-a2.tar.gz") && !strings.Contains(a.body, "-a3.tar.gz") {
			return fmt.Errorf("%s", a.body)
		}
		return nil
	})
	if got := objects(t, dir+"/backups"); len(got) != 2 {
		t.Errorf("objects %v", got)
	}
}
