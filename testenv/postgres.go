package testenv

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Password of the superuser of a cluster that is no project, see [ProjectPassword].
const Password = "secret"

// Superuser of testenv's clusters, as in Supabase's images.
const Superuser = "supabase_admin"

// Postgres is a PostgreSQL server that runs as a child process.
type Postgres struct {
	Major    int
	Bin      string // folder of the tools of its version
	Port     int
	Password string // of the superuser
	dir      string
	settings []string
	cmd      *exec.Cmd
	ended    chan struct{}
}

// PostgresConfig shapes a cluster.
type PostgresConfig struct {
	Major    int
	Settings []string // "name=value"
	Password string   // of the superuser; default: [Password]
	// ICU makes ICU's en_US the locale of the databases, as in Supabase's images.
	// The default is C.UTF-8 of the C library.
	ICU bool
	// Image preloads what Supabase's images preload, pg_cron among it.
	Image bool
}

// PostgresBin returns the folder of the server and the tools of a major version. It
// is never the host's own, whose extensions would change what a test finds.
func PostgresBin(major int) (string, error) {
	m := strconv.Itoa(major)
	bin := filepath.Join(toolsDir(), "pg"+m, "usr/lib/postgresql", m, "bin")
	if _, err := os.Stat(filepath.Join(bin, "postgres")); err != nil {
		return "", fmt.Errorf("PostgreSQL %d is not here; `make deps` installs it", major)
	}
	return bin, nil
}

// StartPostgres makes a cluster with one superuser and starts it on a free port
// of the loopback. Settings are "name=value". The caller must call
// [Postgres.Stop].
func StartPostgres(ctx context.Context, major int, settings ...string) (*Postgres, error) {
	return StartCluster(ctx, PostgresConfig{Major: major, Settings: settings})
}

// StartCluster is StartPostgres with more choices.
func StartCluster(ctx context.Context, c PostgresConfig) (*Postgres, error) {
	bin, err := PostgresBin(c.Major)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "hfpg")
	if err != nil {
		return nil, err
	}
	p := &Postgres{Major: c.Major, Bin: bin, Password: c.Password, dir: dir}
	if p.Password == "" {
		p.Password = Password
	}
	if err := p.create(ctx, c); err != nil {
		_ = os.RemoveAll(dir) // the first error says more
		return nil, err
	}
	return p, nil
}

func (p *Postgres) create(ctx context.Context, c PostgresConfig) error {
	if err := os.Chmod(p.dir, 0o755); err != nil {
		return err
	}
	if err := p.install(); err != nil {
		return err
	}
	if err := p.init(ctx, c.ICU); err != nil {
		return err
	}
	p.settings = slices.Concat(settingsOf(c.Image), []string{"pgsodium.root_key_file=" + p.RootKeyFile()}, c.Settings)
	return p.Start(ctx)
}

// settingsOf returns what Supabase's images set and a backup may meet.
func settingsOf(image bool) []string {
	preload := "pg_stat_statements"
	out := []string{"wal_level=logical", "max_replication_slots=10", "max_wal_senders=10"}
	if image {
		preload += ",pgaudit,pg_cron"
		out = append(out, "cron.database_name=postgres", "cron.use_background_workers=on", "max_worker_processes=16")
	}
	return append(out, "shared_preload_libraries="+preload)
}

// init makes the cluster's data.
func (p *Postgres) init(ctx context.Context, icu bool) error {
	pw := filepath.Join(p.dir, "pw")
	if err := os.WriteFile(pw, []byte(p.Password), 0o644); err != nil {
		return err
	}
	if err := p.makeDataDir(); err != nil {
		return err
	}
	args := []string{"-D", p.DataDir(), "-U", Superuser, "-A", "scram-sha-256", "--pwfile", pw, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"}
	if icu {
		args = append(args, "--locale-provider=icu", "--icu-locale=en-US")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(p.Bin, "initdb"), args...)
	cmd.SysProcAttr, cmd.Dir = asNobody(), p.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return os.Remove(pw)
}

func (p *Postgres) makeDataDir() error {
	if err := os.Mkdir(p.DataDir(), 0o700); err != nil || os.Getuid() != 0 {
		return err
	}
	return os.Chown(p.DataDir(), nobody, nobody)
}

// nobody is whom PostgreSQL runs as when the tests run as root, which it refuses.
const nobody = 65534

func asNobody() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{}
	if os.Getuid() == 0 {
		a.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return a
}

// Start starts a stopped server, on the port that it had, with the settings that it
// was made with. More settings, "name=value", hold until it is stopped.
func (p *Postgres) Start(ctx context.Context, settings ...string) error {
	if p.Port == 0 {
		port, err := freePort()
		if err != nil {
			return err
		}
		p.Port = port
	}
	args := []string{"-D", p.DataDir()}
	for _, s := range slices.Concat([]string{
		"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(p.Port), "unix_socket_directories=", "fsync=off", "synchronous_commit=off",
		"full_page_writes=off", "shared_buffers=32MB", "jit=off", "max_wal_size=4GB",
	}, p.settings, settings) {
		args = append(args, "-c", s)
	}
	p.cmd = exec.Command(p.binary(), args...) // Stop ends it
	p.cmd.SysProcAttr = asNobody()
	p.cmd.SysProcAttr.Pdeathsig, p.cmd.SysProcAttr.Setpgid = syscall.SIGINT, true
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = log, log, p.dir
	p.ended = make(chan struct{})
	started := make(chan error)
	go func() {
		// Pdeathsig is sent when the thread ends that started the child.
		runtime.LockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is in its log
		}
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return err
	}
	return p.ready(ctx)
}

func (p *Postgres) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	conf, err := pgx.ParseConfig(p.URL("postgres"))
	if err != nil {
		return err
	}
	if p.Major >= 17 { // a trigger of the project may note who logs in
		conf.RuntimeParams["event_triggers"] = "off"
	}
	for {
		conn, err := pgx.ConnectConfig(ctx, conf)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-p.ended:
			return fmt.Errorf("PostgreSQL ended at start: %s", p.Log())
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL is not ready: %w: %s", err, p.Log())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// URL returns how to connect to a database as the superuser.
func (p *Postgres) URL(database string) string { return p.URLAs(Superuser, p.Password, database) }

// URLAs returns how to connect to a database as a role.
func (p *Postgres) URLAs(role, password, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(role, password), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port)), Path: database}
	return u.String()
}

// Exec runs SQL statements on a database.
func (p *Postgres) Exec(ctx context.Context, database, sql string) error {
	conn, err := pgx.Connect(ctx, p.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

// Signal sends the server a signal: SIGINT stops it fast, SIGQUIT crashes it. It
// returns when the server has ended.
func (p *Postgres) Signal(sig syscall.Signal) {
	if p.cmd != nil && p.cmd.Process != nil {
		_ = p.cmd.Process.Signal(sig) // it may have ended before
		<-p.ended
	}
}

// Stop stops the server and removes its data.
func (p *Postgres) Stop() {
	p.Signal(syscall.SIGINT)
	_ = os.RemoveAll(p.dir) // in the system's temporary folder anyhow
}

// Log returns what the server has logged.
func (p *Postgres) Log() string {
	b, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// DataDir returns the folder of the cluster.
func (p *Postgres) DataDir() string { return filepath.Join(p.dir, "data") }
