package project_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

// commandLines notes the command lines of this process's children and of theirs, as
// everybody on the machine can read them, until the test ends.
type commandLines struct {
	mu  sync.Mutex
	all map[string]bool
}

func watchCommandLines(t *testing.T) *commandLines {
	t.Helper()
	w := &commandLines{all: map[string]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			w.look()
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
	return w
}

func (w *commandLines) look() {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(b), "pg_") && !strings.Contains(string(b), "psql") {
			continue // it has ended, or is somebody else's
		}
		w.mu.Lock()
		w.all[strings.ReplaceAll(string(b), "\x00", " ")] = true
		w.mu.Unlock()
	}
}

// of returns the command lines that hold a text.
func (w *commandLines) of(text string) (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for line := range w.all {
		if strings.Contains(line, text) {
			out = append(out, line)
		}
	}
	return out
}

// TestNoSecretIsOnACommandLine backs a database up and restores it by a URL that has its
// secrets in parameters, and looks at the command lines of all tools meanwhile.
func TestNoSecretIsOnACommandLine(t *testing.T) {
	const password, passphrase, token = "pa55 w+rd&x", "phra5e/of the key", "t0ken"
	pg := testenv.NewCluster(t, testenv.PostgresConfig{Major: 17, Image: true, Password: password})
	name := databaseOf(t, pg, `CREATE TABLE public.t AS SELECT generate_series(1, 20000) AS n, repeat('x', 100) AS s;
CREATE INDEX ON public.t (n); CREATE SCHEMA realtime; CREATE TABLE realtime.schema_migrations (version bigint)`)
	u, err := url.Parse(pg.URL(name))
	if err != nil {
		t.Fatal(err)
	}
	u.User = nil
	escape := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	raw := fmt.Sprintf("%s?user=%s&p%%61ssword=%s&sslpassword=%s&options=%s", u, testenv.Superuser, escape(password), escape(passphrase), escape("-c app.token="+token))
	seen := watchCommandLines(t)
	for len(seen.of("pg_dump")) == 0 || len(seen.of("pg_dumpall")) == 0 || len(seen.of("pg_restore")) == 0 { // a tool may end too soon to be seen
		b, _, err := dump(t, project.Project{Parts: database(time.Minute), Server: server(raw, pg.Bin)})
		if err != nil {
			t.Fatal(err)
		}
		if said, err := judged(t, b, pg, raw, nil); err != nil {
			t.Fatalf("%v %s", err, said)
		}
	}
	for _, secret := range []string{password, escape(password), url.QueryEscape(password), passphrase, escape(passphrase), url.QueryEscape(passphrase), token} {
		if lines := seen.of(secret); len(lines) > 0 {
			t.Errorf("%q stands on the command line of %v", secret, lines)
		}
	}
}

// TestPlacesInURLs are where user, password and database may stand.
func TestPlacesInURLs(t *testing.T) {
	for raw, want := range map[string]string{
		"postgres://u:p@h:5432/d?sslmode=require":               "postgres://u:p@h:5432/d?sslmode=require",
		"postgres://u:p@h/d?password=q":                         "postgres://u:q@h/d",
		"postgresql://h/d?user=u&password=a%20b&password=c%2Fd": "postgresql://u:c%2Fd@h/d",
		"postgres://u@h/d?dbname=e&sslmode=require":             "postgres://u@h/e?sslmode=require",
	} {
		s := server(raw, "")
		if got, err := s.Find(t.Context()); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", raw, got, err, want)
		}
	}
	for _, raw := range []string{"host=h user=u password=topsecret", "postgres://u:top%secret@h/d", "mysql://u:topsecret@h/d"} {
		if _, err := server(raw, "").Find(t.Context()); err == nil || slices.ContainsFunc([]string{"topsecret", "top%secret"}, func(s string) bool { return strings.Contains(err.Error(), s) }) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
