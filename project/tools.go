package project

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
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
}

func (s *Session) client() client { return client{s.server.Tools, s.major, s.plain, s.url} }

// command prepares a tool. It is ended when ctx ends.
func (c client) command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	path, err := findTool(ctx, name, c.dir, c.major)
	if err != nil {
		return nil, err
	}
	conn, password, err := withoutPassword(c.url)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, append([]string{"--no-password", "--dbname=" + conn}, args...)...) //nolint:gosec // the operator's tools
	cmd.Env = []string{"LC_ALL=C", "PGPASSWORD=" + password, "PGAPPNAME=" + appName, "PGOPTIONS=" + toolOptions(c.major, c.plain), "PATH=/usr/bin:/bin"}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us to handle
	return cmd, nil
}

// tool runs a client tool against the session's database and lets take read its
// output. When the tool fails, what it says is the error.
func (s *Session) tool(ctx context.Context, take func(stdout io.Reader) error, name string, args ...string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd, err := s.client().command(ctx, name, args...)
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

// withoutPassword takes the password out of a URL, which everybody can see on a
// command line.
func withoutPassword(raw string) (conn, password string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", errors.New("database.url is not a URL") // the error would quote it
	}
	if u.User != nil {
		password, _ = u.User.Password()
		u.User = url.User(u.User.Username())
	}
	return u.String(), password, nil
}

var toolPrefix = regexp.MustCompile(`^(pg_dump|pg_dumpall|pg_restore|psql): (error|detail|hint|fatal): `)

// toolError makes a sentence out of the last words of a tool.
func toolError(name string, err error, stderr string) error {
	var said []string
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		if m := toolPrefix.FindString(line); m != "" && !strings.Contains(m, "hint") {
			said = append(said, strings.TrimPrefix(line, m))
		}
	}
	all := strings.Join(said, " ")
	details := fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr))
	switch {
	case strings.Contains(all, "canceling statement due to statement timeout") && strings.Contains(all, "LOCK TABLE"):
		return fail(details, "%s waited too long for a lock that another session holds on a table; try again when that has ended, or raise backup.lock_timeout.", name)
	case strings.Contains(all, "server closed the connection unexpectedly"), strings.Contains(all, "terminating connection"):
		return lost(details, "The database server went away while %s was reading.", name)
	case strings.Contains(all, "connection to server at") && !strings.Contains(all, "FATAL"), strings.Contains(all, "the database system is"):
		return lost(details, "The database server cannot be reached by %s; is it running?", name)
	case strings.Contains(all, "password authentication failed"):
		return fail(details, "The database refused the password; check database.url or POSTGRES_PASSWORD.")
	case all == "":
		return fail(details, "%s ended without a word (%v).", name, err)
	}
	return fail(details, "%s failed: %s", name, cut(all, 400))
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
