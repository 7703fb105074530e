// Command sample starts a sample project, with a PostgreSQL of its own, and a
// holdfastd that backs it up. It prints what to try and stops everything on
// Ctrl-C. Its first argument is the holdfastd to start, its second, if there is
// one, the address to listen on.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/testenv"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "sample:", err)
		os.Exit(1) //nolint:gocritic // stop only restores signals
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return errors.New("usage: sample HOLDFASTD [HOST:PORT]")
	}
	listen := append(args, "127.0.0.1:8080")[1]
	dir, err := filepath.Abs("sample")
	if err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(dir, "docker")); err != nil { // the database is new each time, so are its files
		return err
	}
	say("starting a sample project with 200 storage objects …")
	major := 17
	if _, err := testenv.PostgresBin(major); err != nil {
		major = 15
	}
	s, err := testenv.StartSupabase(ctx, testenv.SupabaseConfig{Major: major, Dir: filepath.Join(dir, "docker"), Objects: 200})
	if err != nil {
		return err
	}
	defer s.Stop()
	key, config := "sk_live_"+rand.Text()+rand.Text()[:6], filepath.Join(dir, "holdfast.yaml")
	text := fmt.Sprintf(`data_dir: %[1]s/data
http: {listen: %[2]s}
min_free: 64MiB
projects:
  - {id: sample, name: Sample, supabase: %[1]s/docker, database: {tools: %[3]s}}
destinations:
  local: {path: %[1]s/backups}
keys:
  - {name: sample, hash: "sha256:%[4]x", permissions: {backups: write}}
`, dir, listen, s.DB.Bin, sha256.Sum256([]byte(key)))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	return serve(ctx, args[0], config, listen, filepath.Join(dir, "holdfastd.log"), key)
}

func say(format string, args ...any) { _, _ = fmt.Fprintf(os.Stdout, format+"\n", args...) }

// serve runs the daemon until ctx ends.
func serve(ctx context.Context, binary, config, listen, logFile, key string) error {
	log, err := os.Create(logFile)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, binary, "--config", config)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 40 * time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for !ready(ctx, listen, key) {
		select {
		case err := <-ended:
			return fmt.Errorf("holdfastd ended (%w); see %s", err, logFile)
		case <-ctx.Done():
			<-ended
			say("stopped")
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
	say(`
Holdfast runs on http://%[1]s, its log is %[3]s. Try:

  export KEY=%[2]s
  curl -H "X-API-Key: $KEY" http://%[1]s/api/v1/projects
  curl -H "X-API-Key: $KEY" -H 'Content-Type: application/json' -d '{"projectId":"sample"}' http://%[1]s/api/v1/backups
  curl -H "X-API-Key: $KEY" 'http://%[1]s/api/v1/backups?stats=true'
  ID=$(curl -s -H "X-API-Key: $KEY" 'http://%[1]s/api/v1/backups?limit=1' | grep -o 'backup-[a-z2-7]\{26\}' | head -n 1)
  curl -H "X-API-Key: $KEY" -f -o $ID.tar.gz http://%[1]s/api/v1/backups/$ID/download && tar tzf $ID.tar.gz | head

Ctrl-C stops everything.`, listen, key, logFile)
	err = <-ended
	if ctx.Err() != nil {
		say("stopped")
		return nil
	}
	return fmt.Errorf("holdfastd ended (%w); see %s", err, logFile)
}

// ready reports whether the daemon is ready and knows the sample project.
func ready(ctx context.Context, listen, key string) bool {
	return strings.Contains(get(ctx, "http://"+listen+"/readyz", ""), `"ready":true`) && strings.Contains(get(ctx, "http://"+listen+"/api/v1/projects", key), `"id":"sample"`)
}

// get returns the body of an answer, or nothing.
func get(ctx context.Context, url, key string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return ""
	}
	req.Header.Set("X-API-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return ""
	}
	return string(b)
}
