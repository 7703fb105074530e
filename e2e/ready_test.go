package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/testenv"
)

// page gets a page of a port of this machine.
func page(port int, path string) (status int, body string, err error) {
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// answers waits for a page with a status and words.
func answers(t *testing.T, port int, path string, status int, words ...string) {
	t.Helper()
	testenv.Eventually(t, time.Minute, func() error {
		got, body, err := page(port, path)
		if err != nil {
			return err
		}
		for _, w := range words {
			if got != status || !strings.Contains(body, w) {
				return fmt.Errorf("%s: %d, want %d with %q: %s", path, got, status, w, body)
			}
		}
		return nil
	})
}

// TestEveryProcessSaysWhetherItIsReady runs a worker without a gateway before there is a
// NATS server, with one, and while it hangs; and a gateway whose metrics have a port of
// their own.
func TestEveryProcessSaysWhetherItIsReady(t *testing.T) {
	dir := t.TempDir()
	sh(t, dir, "mkdir -p src && echo x > src/a")
	nats, ofWorker, ofGateway := testenv.FreePort(t), testenv.FreePort(t), testenv.FreePort(t)
	project := fmt.Sprintf("{id: p, config: {root: %s/src, include: ['**']}}", dir)
	listen := func(text string, port int) string {
		return strings.Replace(text, `PORT"`, fmt.Sprintf(`PORT", metrics_listen: "127.0.0.1:%d"`, port), 1)
	}
	start(t, listen(config(dir+"/worker", dir+"/backups", project, fmt.Sprintf("services: [backup]\nnats: {url: 'nats://u:s3cret@127.0.0.1:%d'}\n", nats)), ofWorker))
	answers(t, ofWorker, "/healthz", 200, `"ok"`)
	answers(t, ofWorker, "/readyz", 503, "Waiting for the NATS server")
	d := start(t, listen(config(dir+"/data", dir+"/backups", project, fmt.Sprintf("services: [gateway, catalog]\nnats: {listen: '127.0.0.1:%d', user: u, password: s3cret}\n", nats)), ofGateway))
	d.ready()
	answers(t, ofWorker, "/readyz", 200, `"nats":"ok"`, `"reads":"ok"`, `"writes":"ok"`, `"consumers":"ok"`)
	answers(t, ofWorker, "/metrics", 200, `holdfast_ready{check="writes"} 1`, "holdfast_log_damaged 0", "go_goroutines")
	answers(t, d.port, "/readyz", 200, `"catalog":"ok"`, `"disk":"ok"`, `"default":"No worker for restores since `)
	start(t, config(dir+"/restorer", dir+"/backups", project, fmt.Sprintf("services: [restore]\nnats: {url: 'nats://u:s3cret@127.0.0.1:%d'}\n", nats)))
	answers(t, d.port, "/readyz", 200, `"default":"ok"`)
	answers(t, ofGateway, "/readyz", 200, `"catalog":"ok"`)
	answers(t, ofGateway, "/metrics", 200, "holdfast_catalog_up 1", `holdfast_pool_has_worker{pool="default"} 1`)
	answers(t, d.port, "/metrics", 404, "There is no such route")
	d.want(d.call("POST", "/backups", full), 201)
	if err := d.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	answers(t, ofWorker, "/readyz", 503, `"ready":false`, "is away")
	if err := d.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	answers(t, ofWorker, "/readyz", 200, `"ready":true`)
	answers(t, ofGateway, "/readyz", 200, `"ready":true`)
}

// TestAWarningEndsWithItsCause: a folder that is there again is seen within seconds.
func TestAWarningEndsWithItsCause(t *testing.T) {
	dir := t.TempDir()
	pg := testenv.NewPostgres(t, 15)
	supabase := dir + "/docker"
	sh(t, dir, "mkdir docker src && echo x > src/a")
	d := start(t, config(dir+"/data", dir+"/backups", fmt.Sprintf("{id: p, config: {root: %s/src, include: ['**']}}\n  - {id: q, supabase: %s, database: {tools: %s}, storage: none, functions: none}", dir, supabase, pg.Bin), ""))
	d.ready()
	answers(t, d.port, "/readyz", 200, "project q: ")
	put(t, supabase, ".env", "POSTGRES_PASSWORD="+testenv.Password+"\n")
	put(t, supabase, "docker-compose.yml", fmt.Sprintf("services:\n  db:\n    image: \"supabase/postgres:15.8.1.085\"\n    ports: [\"127.0.0.1:%d:5432\"]\n", pg.Port))
	answers(t, d.port, "/readyz", 200, `"warnings":[]`)
	d.want(d.call("GET", "/projects/q", ""), 200, `"status":"ok"`)
}

// TestHangup reloads the keys and the certificate, and nothing of a file that is wrong.
func TestHangup(t *testing.T) {
	dir := t.TempDir()
	d := start(t, small(t, dir))
	d.ready()
	old, err := os.ReadFile(d.config)
	if err != nil {
		t.Fatal(err)
	}
	hangup := func(text string) {
		t.Helper()
		if err := os.WriteFile(d.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	status := func(want int) {
		t.Helper()
		testenv.Eventually(t, time.Minute, func() error {
			if a, err := d.try("GET", "/backups", ""); err != nil || a.status != want {
				return fmt.Errorf("%d %s, %w; want %d", a.status, a.body, err, want)
			}
			return nil
		})
	}
	logged := func(words string) {
		t.Helper()
		testenv.Eventually(t, time.Minute, func() error {
			if b, err := os.ReadFile(d.config + ".log"); err != nil || !strings.Contains(string(b), words) {
				return fmt.Errorf("%q is not in the log, %w", words, err)
			}
			return nil
		})
	}
	hangup(strings.Replace(string(old), "name: e2e, hash: \"sha256:", "name: e2e, hash: \"sha256:x", 1))
	logged("keys[0].hash must be sha256")
	status(200)
	hangup(strings.Replace(string(old), "name: e2e, hash: \"sha256:", "name: e2e, expires: 2001-01-01T00:00:00Z, hash: \"sha256:", 1))
	status(401)
	hangup(strings.Replace(string(old), "permissions: {backups: write}", "permissions: {backups: write}, projects: []", 1))
	status(200)
	d.want(d.call("GET", "/projects", ""), 200, `"projects":[]`)
	if a := d.call("POST", "/backups", full); a.status/100 != 4 {
		t.Errorf("a key for no project: %d %s", a.status, a.body)
	}
	hangup(string(old))
	testenv.Eventually(t, time.Minute, func() error {
		if a := d.call("GET", "/projects", ""); !strings.Contains(a.body, `"id":"p"`) {
			return fmt.Errorf("%s", a.body)
		}
		return nil
	})
}

// writeCertificate writes a certificate of 127.0.0.1 with a serial number, and its key.
func writeCertificate(t *testing.T, dir string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	put(t, dir, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// TestHangupReloadsTheCertificate once both of its files are good.
func TestHangupReloadsTheCertificate(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, 1)
	d := start(t, strings.Replace(small(t, dir), `PORT"`, fmt.Sprintf(`PORT", tls: {cert: %s/cert.pem, key: %s/key.pem}`, dir, dir), 1))
	served := func(serial int64) {
		t.Helper()
		testenv.Eventually(t, time.Minute, func() error {
			c, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", d.port), &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				return err
			}
			defer c.Close()
			if got := c.ConnectionState().PeerCertificates[0].SerialNumber; got.Int64() != serial {
				return fmt.Errorf("certificate %s", got)
			}
			return nil
		})
	}
	served(1)
	put(t, dir, "cert.pem", "no certificate")
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, time.Minute, func() error {
		if b, err := os.ReadFile(d.config + ".log"); err != nil || !strings.Contains(string(b), "what is wrong stays as it was") {
			return fmt.Errorf("nothing in the log, %w", err)
		}
		return nil
	})
	served(1)
	writeCertificate(t, dir, 2)
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	served(2)
}

// TestAKeyIsShownOnlyByADaemonThatServes: a port that is taken is said before.
func TestAKeyIsShownOnlyByADaemonThatServes(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	put(t, dir, "h.yaml", fmt.Sprintf("data_dir: %s/data\nhttp: {listen: %q}\n", dir, l.Addr()))
	out := fails(t, "--config", dir+"/h.yaml")
	if !strings.Contains(out, "http.listen: ") || strings.Contains(out, "sk_live_") {
		t.Errorf("output %s", out)
	}
	put(t, dir, "h.yaml", fmt.Sprintf("data_dir: %s/data\nhttp: {listen: '127.0.0.1:0', metrics_listen: %q}\n", dir, l.Addr()))
	out = fails(t, "--config", dir+"/h.yaml")
	if !strings.Contains(out, "http.metrics_listen: ") || strings.Contains(out, "sk_live_") {
		t.Errorf("output %s", out)
	}
	if left := objects(t, dir+"/data"); len(left) > 0 {
		t.Errorf("a daemon that could not start has left %v", left)
	}
}

// TestConfigCheckSaysEverythingAtOnce by line and key, and no value of them.
func TestConfigCheckSaysEverythingAtOnce(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "h.yaml", `data_dir: x
min_free: h0riz0n
backup: {ack_wait: h0riz0n, slots: h0riz0n}
encryption:
  recipients: [AGE-SECRET-KEY-H0RIZ0N, age1h0riz0n]
projects:
  - {id: p, database: {url: "postgres://u:h0riz0n@127.0.0.1:6543/x"}, config: {root: /x, include: [/h0riz0n]}}
keys:
  - {name: a, hash: h0riz0n}
`)
	out := fails(t, "config", "check", "--config", dir+"/h.yaml")
	for _, want := range []string{
		":2: min_free must be a size", ":3: backup.ack_wait must be a duration", ":3: backup.slots must be a whole number", ":5: encryption.recipients[0] is an identity",
		":5: encryption.recipients[1] is not an age recipient", ":7: projects[0].database.url leads to port 6543", ":7: projects[0].config.include[0] is not relative", ":9: keys[0].hash must be",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if strings.Contains(strings.ToLower(out), "h0riz0n") {
		t.Errorf("a value is in\n%s", out)
	}
	put(t, dir, "h.yaml", fmt.Sprintf("data_dir: %s/data\nencryption: {identity_file: AGE-SECRET-KEY-H0RIZ0N}\n", dir)) // and not its path
	if out = fails(t, "config", "check", "--config", dir+"/h.yaml"); !strings.Contains(out, "encryption.identity_file must be the path of a file") || strings.Contains(out, "H0RIZ0N") {
		t.Errorf("output %s", out)
	}
	put(t, dir, "h.yaml", fmt.Sprintf("data_dir: %s/data\nprojects:\n  - {id: p, database: {url: 'postgres://u:p@127.0.0.1:1/x', tools: %s}}\n", dir, dir))
	contains(t, fails(t, "config", "check", "--config", dir+"/h.yaml"), "project p: database.tools must be the folder of PostgreSQL's client tools, but there is no pg_dump in "+dir)
	put(t, dir, "h.json", fmt.Sprintf(`{"data_dir": "%s/data", "keys": [{"name": "old", "hash": "sha256:%064d", "expires": "2001-01-01T00:00:00Z"}]}`, dir, 1))
	text, err := exec.CommandContext(t.Context(), binary, "config", "check", "--config", dir+"/h.json").CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, text)
	}
	contains(t, string(text), "The key old has expired and is refused.", "The configuration is good. It was read from "+dir+"/h.json")
	cmd := exec.CommandContext(t.Context(), binary, "config", "check")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if text, err = cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, text)
	}
	contains(t, string(text), "No configuration file was read")
}
