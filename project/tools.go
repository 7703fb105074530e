package project

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var versionNumber = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// findTool returns the path of a client tool of the server's major version: an
// older pg_dump refuses a newer server, and what a newer one writes an older
// server does not take back.
func findTool(ctx context.Context, name, dir string, major int) (string, error) {
	dirs := []string{dir}
	if dir == "" {
		dirs = append([]string{fmt.Sprintf("/usr/lib/postgresql/%d/bin", major), fmt.Sprintf("/usr/pgsql-%d/bin", major)},
			filepath.SplitList(os.Getenv("PATH"))...) //nolint:forbidigo // where tools are looked for, no setting of ours
	}
	var tried []string
	for _, d := range dirs {
		tool := filepath.Join(d, name)
		if _, err := os.Stat(tool); err != nil {
			continue
		}
		out, err := exec.CommandContext(ctx, tool, "--version").Output() //nolint:gosec // the operator's tools
		if err != nil {
			tried = append(tried, fmt.Sprintf("%s does not run (%v)", tool, err))
			continue
		}
		if m := versionNumber.FindSubmatch(out); m != nil && string(m[1]) == strconv.Itoa(major) {
			return tool, nil
		}
		tried = append(tried, fmt.Sprintf("%s is %s", tool, strings.TrimSpace(string(out))))
	}
	if tried == nil {
		tried = []string{"none in " + strings.Join(dirs, ", ")}
	}
	return "", fail(nil, "The server is PostgreSQL %d, but there is no %s of that version (%s); apt-get install postgresql-client-%d, or set database.tools.",
		major, name, strings.Join(tried, "; "), major)
}

// client runs PostgreSQL's client tools against a database.
type client struct {
	dir   string // of the tools; empty: the usual places
	major int    // of the server
	plain bool   // the role is no superuser
	url   string // of the database

	session string // options of the sessions of pg_restore, as PGOPTIONS takes them
}

// CheckTools returns why a backup or a restore cannot run the client tools that it needs.
func (s *Session) CheckTools(ctx context.Context) error {
	for _, name := range []string{"pg_dump", "pg_dumpall", "pg_restore"} {
		if _, err := findTool(ctx, name, s.server.Tools, s.major); err != nil {
			return err
		}
	}
	return nil
}

func (s *Session) client() client {
	return client{dir: s.server.Tools, major: s.major, plain: s.plain, url: s.url}
}

// command prepares a tool. It is ended when ctx ends.
func (c client) command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	path, err := findTool(ctx, name, c.dir, c.major)
	if err != nil {
		return nil, err
	}
	return c.prepare(ctx, path, args...)
}

// prepare is command for a tool whose path is known.
func (c client) prepare(ctx context.Context, path string, args ...string) (*exec.Cmd, error) {
	conn, secret, err := split(c.url)
	if err != nil {
		return nil, fail(err, "%v.", err)
	}
	cmd := exec.CommandContext(ctx, path, append([]string{"--no-password", "--dbname=" + conn}, args...)...) //nolint:gosec // the operator's tools
	cmd.Env = []string{"LC_ALL=C", "PGPASSWORD=" + secret.password, "PGAPPNAME=" + appName, "PGOPTIONS=" + c.options(secret), "PATH=/usr/bin:/bin"}
	if secret.sslPassword != "" {
		f, err := serviceFile(secret.sslPassword)
		if err != nil {
			return nil, err
		}
		cmd.ExtraFiles = []*os.File{f} // the first is number 3
		cmd.Env = append(cmd.Env, "PGSERVICE=holdfast", "PGSERVICEFILE=/proc/self/fd/3")
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us to handle
	return cmd, nil
}

// options returns what PGOPTIONS is: the options of the URL, then ours, which win.
func (c client) options(s secrets, extra ...string) string {
	return strings.TrimSpace(s.options + " " + toolOptions(c.major, c.plain, extra...))
}

// find returns the path of a client tool.
func (s *Session) find(ctx context.Context, name string) (path string, err error) {
	if s.found[name] == "" {
		if s.found[name], err = findTool(ctx, name, s.server.Tools, s.major); err != nil {
			return "", err
		}
	}
	return s.found[name], nil
}

// tool runs a client tool against the session's database and lets take read its
// output. When the tool fails, what it says is the error.
func (s *Session) tool(ctx context.Context, take func(stdout io.Reader) error, name string, args ...string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	path, err := s.find(ctx, name)
	if err != nil {
		return err
	}
	cmd, err := s.client().prepare(ctx, path, args...)
	if err != nil {
		return err
	}
	var stderr tail
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fail(err, "%s cannot be started.", name)
	}
	takeErr := take(stdout)
	cutOff := errors.Is(takeErr, io.ErrUnexpectedEOF)
	if takeErr != nil && !cutOff {
		cancel() // lets a tool end that nobody reads any more
	}
	err = cmd.Wait()
	switch {
	case takeErr != nil && !cutOff:
		return takeErr
	case err != nil:
		return toolError(name, err, stderr.String())
	}
	return takeErr
}

// serviceFile returns a file in memory that gives libpq the passphrase of the client's
// key, for which it knows no variable of the environment. It goes with the command.
func serviceFile(sslPassword string) (*os.File, error) {
	if strings.ContainsAny(sslPassword, "\r\n") {
		return nil, fail(nil, "sslpassword in database.url has a line break, which PostgreSQL's client tools cannot read.")
	}
	fd, err := unix.MemfdCreate("service", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "service")
	if _, err := f.WriteString("[holdfast]\nsslpassword=" + sslPassword + "\n"); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// tail keeps the last words that are written to it.
type tail struct{ b bytes.Buffer }

const maxTail = 16 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.b.Write(p)
	if over := t.b.Len() - maxTail; over > 0 {
		t.b.Next(over)
	}
	return len(p), nil
}

func (t *tail) String() string { return t.b.String() }
