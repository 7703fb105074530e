// Command bench measures holdfastd beside its rivals, all in one run, on data that
// it generates: a database of about 1 GB, then 100,000 files. Its one argument is
// the holdfastd to measure.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dev/holdfast/testenv"
)

const (
	listen = "127.0.0.1:18080"
	key    = "sk_live_benchbenchbenchbenchbenchbench01"
	rounds = 2 // of each; the best counts
)

func main() {
	runtime.LockOSThread() // Pdeathsig is sent when the thread ends that started the child
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type bench struct {
	dir string
	pg  *testenv.Postgres
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: bench HOLDFASTD")
	}
	dir, err := os.MkdirTemp("", "holdfast-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	pg, err := testenv.StartPostgres(ctx, 17, "shared_buffers=256MB")
	if err != nil {
		return err
	}
	defer pg.Stop()
	b := &bench{dir: dir, pg: pg}
	say("generating a database and 100,000 files …")
	if err := b.generate(ctx); err != nil {
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
	if err := b.database(ctx); err != nil {
		return err
	}
	if err := b.files(ctx); err != nil {
		return err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.Process.Pid))
	if err != nil {
		return err
	}
	say("peak memory of holdfastd: %s (budget 131072 kB)", regexp.MustCompile(`VmHWM:\s+(.*)`).FindSubmatch(status)[1])
	return nil
}

func say(format string, args ...any) { _, _ = fmt.Fprintf(os.Stdout, format+"\n", args...) }

func (b *bench) generate(ctx context.Context) error {
	const sql = `CREATE TABLE events AS SELECT n AS id, md5(n::text) AS token, now() - n * interval '1 second' AS at, n % 977 AS kind,
 'user' || n % 50000 || '@example.test' AS email, jsonb_build_object('n', n, 'tags', ARRAY[n % 7, n % 11], 'note', repeat(chr(97 + n % 26), 60)) AS data
 FROM generate_series(1, 4000000) n; ANALYZE`
	if err := b.pg.Exec(ctx, "postgres", sql); err != nil {
		return err
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 100_000 {
		dir := filepath.Join(b.dir, "files", fmt.Sprint(i%500))
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return err
		}
		data := bytes.Repeat([]byte("the quick brown fox "), 1150)
		if i%3 != 0 {
			for k := range data {
				data[k] = byte(rnd.Uint32())
			}
		}
		name := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return err
		}
		if err := errors.Join(unix.Setxattr(name, "user.supabase.content-type", []byte("image/png"), 0), unix.Setxattr(name, "user.supabase.cache-control", []byte("no-cache"), 0)); err != nil {
			return err
		}
	}
	return nil
}

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

// best runs f several times and returns its shortest time in seconds.
func best(f func() error) (float64, error) {
	out := 0.0
	for i := range rounds {
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

func (b *bench) table(ctx context.Context, title string, project string, rivals map[string]string) error {
	say("\n%s", title)
	var size int64
	ours, err := best(func() (err error) {
		size, err = backup(project)
		return err
	})
	if err != nil {
		return err
	}
	say("%-52s %6.2f s  %5d MB", "holdfastd, REST to stored archive", ours, size/1e6)
	for name, script := range rivals {
		theirs, err := best(func() error { return b.sh(ctx, script) })
		if err != nil {
			return err
		}
		say("%-52s %6.2f s  ratio %.2f", name, theirs, ours/theirs)
	}
	return nil
}

func (b *bench) database(ctx context.Context) error {
	dsn := "'" + b.pg.URL("postgres") + "'"
	err := b.table(ctx, "dump of a database", "database", map[string]string{
		"pg_dump -Fc -Z0 >/dev/null (budget <= 1.35)":      "pg_dump -Fc -Z0 " + dsn + " >/dev/null",
		"pg_dump -Fc (budget <= 0.33)":                     "pg_dump -Fc " + dsn + " >fc",
		"pg_dump | gzip":                                   "pg_dump " + dsn + " | gzip >gz",
		"pg_dump -Fc -Z0 | restic --stdin (budget <= .65)": "rm -rf r; restic init -q -r r; pg_dump -Fc -Z0 " + dsn + " | restic -q -r r backup --stdin",
	})
	if fi, serr := os.Stat(filepath.Join(b.dir, "fc")); serr == nil {
		say("size of pg_dump -Fc: %d MB", fi.Size()/1e6)
	}
	return err
}

func (b *bench) files(ctx context.Context) error {
	return b.table(ctx, "100,000 files with xattrs, warm", "files", map[string]string{
		"tar --xattrs | pigz -1 (budget <= 0.40)":   "tar --xattrs -C files -c . | pigz -1 >tgz",
		"restic, empty repository (budget <= 0.65)": "rm -rf r; restic init -q -r r; restic -q -r r backup files",
	})
}
