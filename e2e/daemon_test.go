// Package e2e runs the real holdfastd through REST, against real servers.
package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/testenv"
)

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "holdfast-e2e")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "holdfastd")
	out, err := exec.Command("go", "build", "-o", binary, "github.com/holdfast-dev/holdfast/cmd/holdfastd").CombinedOutput()
	if err != nil {
		panic(string(out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

const apiKey = "sk_live_e2eE2Ee2eE2Ee2eE2Ee2eE2Ee2eE2E01"

// daemon is a holdfastd that runs as a child process.
type daemon struct {
	t       testing.TB
	config  string
	host    string
	port    int
	machine *testenv.Machine // nil is this one
	client  *http.Client
	cmd     *exec.Cmd
}

// start starts a holdfastd with a configuration in which PORT stands for its port.
func start(t testing.TB, config string) *daemon {
	t.Helper()
	return startOn(t, nil, config)
}

// startOn is start on another machine, on whose address the daemon listens.
func startOn(t testing.TB, m *testenv.Machine, config string) *daemon {
	t.Helper()
	d := &daemon{t: t, host: "127.0.0.1", port: testenv.FreePort(t), config: filepath.Join(t.TempDir(), "holdfast.yaml"), machine: m, client: http.DefaultClient}
	if m != nil {
		d.host = m.Addr
	}
	text := strings.NewReplacer("127.0.0.1:PORT", fmt.Sprintf("%s:%d", d.host, d.port), "PORT", fmt.Sprint(d.port)).Replace(config)
	if err := os.WriteFile(d.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d.run()
	t.Cleanup(func() {
		d.kill(syscall.SIGTERM)
		if t.Failed() {
			b, _ := os.ReadFile(d.config + ".log")
			t.Logf("log of holdfastd:\n%s", b[max(0, len(b)-6000):])
		}
	})
	return d
}

func (d *daemon) run() {
	d.t.Helper()
	log, err := os.OpenFile(d.config+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close()
	d.cmd = exec.Command(binary, "--config", d.config)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.machine.Start(d.cmd); err != nil {
		d.t.Fatal(err)
	}
}

// kill ends the process and waits for it.
func (d *daemon) kill(sig syscall.Signal) {
	if d.cmd != nil {
		_ = d.cmd.Process.Signal(sig)
		_ = d.cmd.Wait()
		d.cmd = nil
	}
}

func (d *daemon) url(path string) string { return fmt.Sprintf("http://%s:%d%s", d.host, d.port, path) }

// ready waits until /readyz says so and the project is known.
func (d *daemon) ready() {
	d.t.Helper()
	testenv.Eventually(d.t, 30*time.Second, func() error {
		resp, err := d.client.Get(d.url("/readyz"))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s", b)
		}
		if a := d.call("GET", "/projects", ""); !strings.Contains(a.body, `"id":"p"`) {
			return fmt.Errorf("projects: %s", a.body)
		}
		return nil
	})
}

type answer struct {
	status int
	body   string
	header http.Header
}

// backup decodes the backup of an answer, wrapped or not.
func (a answer) backup() (b map[string]any) {
	var w struct{ Backup map[string]any }
	_ = json.Unmarshal([]byte(a.body), &w)
	if w.Backup != nil {
		return w.Backup
	}
	_ = json.Unmarshal([]byte(a.body), &b)
	return b
}

func (d *daemon) call(method, path, body string, headers ...string) answer {
	d.t.Helper()
	a, err := d.try(method, path, body, headers...)
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

func (d *daemon) try(method, path, body string, headers ...string) (answer, error) {
	req, err := http.NewRequest(method, d.url("/api/v1"+path), strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("X-API-Key", apiKey)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(b), resp.Header}, err
}

// want fails the test unless the answer has the status and holds the words.
func (d *daemon) want(a answer, status int, words ...string) {
	d.t.Helper()
	if a.status != status {
		d.t.Errorf("status %d, want %d: %s", a.status, status, a.body)
	}
	for _, w := range words {
		if !strings.Contains(a.body, w) {
			d.t.Errorf("%q is not in %s", w, a.body)
		}
	}
}

// writing waits until something lies at the destination.
func (d *daemon) writing(dir string) {
	d.t.Helper()
	testenv.Eventually(d.t, 20*time.Second, func() error {
		if len(objects(d.t, dir)) == 0 {
			return fmt.Errorf("not writing yet")
		}
		return nil
	})
}

// objects lists what lies at a local destination, hidden files too.
func objects(t testing.TB, dir string) (names []string) {
	t.Helper()
	_ = filepath.Walk(dir, func(path string, fi os.FileInfo, err error) error {
		if err == nil && !fi.IsDir() {
			names = append(names, path)
		}
		return nil
	})
	return names
}

func sh(t testing.TB, dir, script string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// metrics returns what the daemon tells Prometheus.
func (d *daemon) metrics() string {
	d.t.Helper()
	res, err := d.client.Get(d.url("/metrics"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}
