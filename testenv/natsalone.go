package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// NATSAlone starts one NATS server with JetStream as a process, which keeps its streams
// in store. It ends with the test.
func NATSAlone(tb testing.TB, store string) *NATSProcess {
	tb.Helper()
	dir := tb.TempDir()
	binary, config := filepath.Join(dir, "nats-server"), filepath.Join(dir, "alone.conf")
	if out, err := exec.Command("go", "build", "-o", binary, natsServer).CombinedOutput(); err != nil {
		tb.Fatalf("build %s: %v: %s", natsServer, err, out)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", FreePort(tb))
	text := fmt.Sprintf("server_name: alone\nlisten: %q\njetstream {store_dir: %q, sync_interval: always, max_file: 1G}\n", addr, store)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	n := &NATSProcess{Name: "alone", URL: "nats://" + addr}
	n.run = func(tb testing.TB) *process { return startProcess(tb, nil, binary, "-c", config) }
	n.p = n.run(tb)
	Eventually(tb, time.Minute, func() error {
		nc, err := nats.Connect(n.URL)
		if err != nil {
			return errors.Join(err, errors.New(n.p.tail()))
		}
		nc.Close()
		return nil
	})
	return n
}
