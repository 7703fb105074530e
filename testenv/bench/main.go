// Command bench measures holdfastd beside its rivals, all in one run, on data that
// it generates: a database of about 1 GB, then 100,000 files, each times the
// second argument. The first argument is the holdfastd to measure; a third one
// chooses one of the tables: "database", "files" or "restore".
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

	"golang.org/x/sys/unix"

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
		return errors.New("usage: bench HOLDFASTD SCALE [database|files|restore]")
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
	}{{"database", b.database}, {"files", b.files}, {"restore", b.restore}} {
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
restore: {keep_old: 1s}
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

// post makes a request and returns the answer, which must have the status.
func post(path, body string, status int) (string, error) {
	req, err := http.NewRequest(http.MethodPost, "http://"+listen+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("X-API-Key", key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		return "", fmt.Errorf("%d %s %w", resp.StatusCode, answer, err)
	}
	return string(answer), nil
}

// backup makes a backup through REST and returns its id and size.
func backup(project string) (id string, size int64, err error) {
	answer, err := post("/backups", `{"projectId":"`+project+`"}`, http.StatusCreated)
	if err != nil {
		return "", 0, err
	}
	_, err = fmt.Sscan(regexp.MustCompile(`"size":(\d+)`).FindStringSubmatch(answer)[1], &size)
	return regexp.MustCompile(`backup-[a-z2-7]{26}`).FindString(answer), size, err
}

// best runs f several times, at a larger scale once, and returns its shortest time
// in seconds. What was written before goes to the disk first, or the next one would
// wait for it.
func (b *bench) best(f func() error) (float64, error) {
	out, n := 0.0, rounds
	if b.scale > 1 {
		n = 1
	}
	for i := range n {
		unix.Sync()
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
		_, size, err = backup(project)
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

func (b *bench) restore(ctx context.Context) error {
	id, _, err := backup("database")
	if err != nil {
		return err
	}
	if err := b.sh(ctx, "pg_dump -Fc -Z0 '"+b.pg.URL("postgres")+"' >z0"); err != nil {
		return err
	}
	say("\nrestore of a database")
	ours, err := b.best(func() error {
		_, err := post("/backups/"+id+"/restore", `{"forceRestore":true,"safetyBackup":false}`, http.StatusOK)
		return err
	})
	if err != nil {
		return err
	}
	say("%-52s %6.2f s", "holdfastd, REST to proved and swapped", ours)
	theirs, err := b.best(func() error {
		return b.sh(ctx, "psql -q '"+b.pg.URL("template1")+"' -c 'DROP DATABASE IF EXISTS rival' -c 'CREATE DATABASE rival TEMPLATE template0'; pg_restore -j2 -d '"+b.pg.URL("rival")+"' z0")
	})
	say("%-52s %6.2f s  ratio %.2f", "pg_restore -j2 (budget <= 1.20)", theirs, ours/theirs)
	return err
}
