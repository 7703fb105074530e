// Command bench measures holdfastd beside its rivals, all in one run, on data that
// it generates: a database of about 1 GB, then 100,000 files, each times the
// second argument. The first argument is the holdfastd to measure; a third one
// chooses one of the tables, "database" or "files".
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/testenv"
)

const (
	listen = "127.0.0.1:18080"
	key    = "sk_live_benchbenchbenchbenchbenchbench01"
	rounds = 3 // of each, at scale 1; the best counts
)

func main() {
	runtime.LockOSThread() // Pdeathsig is sent when the thread ends that started the child
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type bench struct {
	dir   string
	pg    *testenv.Postgres
	scale int
}

func run(ctx context.Context, args []string) error {
	if len(args) < 2 || len(args) > 3 {
		return errors.New("usage: bench HOLDFASTD SCALE [database|files]")
	}
	only := append(args, "")[2]
	scale, err := strconv.Atoi(args[1])
	if err != nil || scale < 1 {
		return fmt.Errorf("the scale must be a number from 1 on, not %q", args[1])
	}
	dir, err := os.MkdirTemp("", "holdfast-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	pg, err := testenv.StartPostgres(ctx, 17, "shared_buffers=256MB", "autovacuum=off") // nothing else shall run beside
	if err != nil {
		return err
	}
	defer pg.Stop()
	b := &bench{dir: dir, pg: pg, scale: scale}
	say("generating a database of about %d GB and %d files …", scale, scale*filesPerScale)
	if err := b.generate(ctx, only); err != nil {
		return err
	}
	d, err := b.daemon(ctx, args[0])
	if err != nil {
		return err
	}
	defer func() {
		_ = d.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = d.Wait()
	}()
	for _, table := range []struct {
		name string
		run  func(context.Context) error
	}{{"database", b.database}, {"files", b.files}} {
		if only != "" && only != table.name {
			continue
		}
		if err := table.run(ctx); err != nil {
			return err
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.Process.Pid))
		if err != nil {
			return err
		}
		say("%-52s %s (budget <= 131072 kB)", "peak memory of holdfastd so far", regexp.MustCompile(`VmHWM:\s+(.*)`).FindSubmatch(status)[1])
	}
	return nil
}

func say(format string, args ...any) { _, _ = fmt.Fprintf(os.Stdout, format+"\n", args...) }

func (b *bench) daemon(ctx context.Context, binary string) (*exec.Cmd, error) {
	config := filepath.Join(b.dir, "holdfast.yaml")
	text := fmt.Sprintf(`data_dir: %[1]s/data
http: {listen: %[2]s}
projects:
  - {id: database, database: {url: "%[3]s", tools: %[4]s}}
  - {id: files, storage: {path: %[1]s/files}}
destinations:
  local: {path: %[1]s/backups}
keys:
  - {name: bench, hash: "sha256:%[5]x", permissions: {backups: write}}
`, b.dir, listen, b.pg.URL("postgres"), b.pg.Bin, sha256.Sum256([]byte(key)))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, binary, "--config", config, "--log-level", "warn")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // should the bench be killed
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for range 100 {
		if resp, err := http.Get("http://" + listen + "/readyz"); err == nil {
			_ = resp.Body.Close() // empty
			if resp.StatusCode == http.StatusOK {
				return cmd, nil
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil, errors.New("holdfastd is not ready")
}

// backup makes a backup through REST and returns its size.
func backup(project string) (int64, error) {
	req, err := http.NewRequest(http.MethodPost, "http://"+listen+"/api/v1/backups", strings.NewReader(`{"projectId":"`+project+`"}`))
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-API-Key", key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusCreated {
		return 0, fmt.Errorf("%d %s %w", resp.StatusCode, body, err)
	}
	var size int64
	_, err = fmt.Sscan(string(regexp.MustCompile(`"size":(\d+)`).FindSubmatch(body)[1]), &size)
	return size, err
}

// best runs f several times, at a larger scale once, and returns its shortest time
// in seconds.
func (b *bench) best(f func() error) (float64, error) {
	out, n := 0.0, rounds
	if b.scale > 1 {
		n = 1
	}
	for i := range n {
		begin := time.Now()
		if err := f(); err != nil {
			return 0, err
		}
		if s := time.Since(begin).Seconds(); i == 0 || s < out {
			out = s
		}
	}
	return out, nil
}

func (b *bench) sh(ctx context.Context, script string) error {
	cmd := exec.CommandContext(ctx, "sh", "-ec", script)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "PATH="+b.pg.Bin+":"+os.Getenv("PATH"), "RESTIC_PASSWORD=x")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", script, err, out)
	}
	return nil
}

// rival is another way to do the same.
type rival struct{ name, script string }

func (b *bench) table(ctx context.Context, title string, project string, rivals ...rival) error {
	say("\n%s", title)
	var size int64
	ours, err := b.best(func() (err error) {
		size, err = backup(project)
		return err
	})
	if err != nil {
		return err
	}
	say("%-52s %6.2f s  %5d MB", "holdfastd, REST to stored archive", ours, size/1e6)
	for _, r := range rivals {
		theirs, err := b.best(func() error { return b.sh(ctx, r.script) })
		if err != nil {
			return err
		}
		say("%-52s %6.2f s  ratio %.2f", r.name, theirs, ours/theirs)
	}
	return nil
}

func (b *bench) database(ctx context.Context) error {
	dsn := "'" + b.pg.URL("postgres") + "'"
	err := b.table(ctx, "dump of a database", "database",
		rival{"pg_dump -Fc -Z0 >/dev/null (budget <= 1.35)", "pg_dump -Fc -Z0 " + dsn + " >/dev/null"},
		rival{"pg_dump -Fc (budget <= 0.33)", "pg_dump -Fc " + dsn + " >fc"},
		rival{"pg_dump | gzip", "pg_dump " + dsn + " | gzip >gz"},
		rival{"pg_dump -Fc -Z0 | restic --stdin (budget <= .65)", "rm -rf r; restic init -q -r r; pg_dump -Fc -Z0 " + dsn + " | restic -q -r r backup --stdin"},
	)
	for _, name := range []string{"fc", "gz"} {
		if fi, serr := os.Stat(filepath.Join(b.dir, name)); serr == nil {
			say("size of %s: %d MB", map[string]string{"fc": "pg_dump -Fc", "gz": "pg_dump | gzip"}[name], fi.Size()/1e6)
		}
	}
	return err
}

func (b *bench) files(ctx context.Context) error {
	return b.table(ctx, "files with xattrs, warm", "files",
		rival{"tar --xattrs | pigz -1 (budget <= 0.40)", "tar --xattrs -C files -c . | pigz -1 >tgz"},
		rival{"restic, empty repository (budget <= 0.65)", "rm -rf r; restic init -q -r r; restic -q -r r backup files"},
	)
}
