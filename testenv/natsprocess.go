package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// NATSProcess is a NATS server that runs as a child, alone or in a cluster.
type NATSProcess struct {
	URL  string
	Name string
	p    *process
	run  func(tb testing.TB) *process
}

// Restart starts the server again after Kill.
func (n *NATSProcess) Restart(tb testing.TB) {
	tb.Helper()
	n.p = n.run(tb)
}

// Hang stops the server without ending it, as a machine does that swaps to death.
func (n *NATSProcess) Hang(tb testing.TB) {
	tb.Helper()
	n.signal(tb, syscall.SIGSTOP)
}

// Continue ends Hang.
func (n *NATSProcess) Continue(tb testing.TB) {
	tb.Helper()
	n.signal(tb, syscall.SIGCONT)
}

// Kill ends the server at once.
func (n *NATSProcess) Kill(tb testing.TB) {
	tb.Helper()
	n.signal(tb, syscall.SIGKILL)
	<-n.p.ended
}

func (n *NATSProcess) signal(tb testing.TB, sig syscall.Signal) {
	tb.Helper()
	if err := n.p.cmd.Process.Signal(sig); err != nil {
		tb.Fatal(err)
	}
}

const natsServer = "github.com/nats-io/nats-server/v2"

// NATSBinary builds the NATS server and returns its path.
func NATSBinary(tb testing.TB) string {
	tb.Helper()
	binary := filepath.Join(tb.TempDir(), "nats-server")
	if out, err := exec.Command("go", "build", "-o", binary, natsServer).CombinedOutput(); err != nil {
		tb.Fatalf("build %s: %v: %s", natsServer, err, out)
	}
	return binary
}

var natsAlone atomic.Int64 // servers that StartNATS has started

// StartNATS starts one NATS server with JetStream as a process, from the binary that
// [NATSBinary] has built. It ends with the test. Its address on the loopback is its own, so
// that nobody takes its port while it is killed.
func StartNATS(tb testing.TB, binary string) *NATSProcess {
	tb.Helper()
	dir := tb.TempDir()
	n := &NATSProcess{Name: "n"}
	pid := os.Getpid()
	host := fmt.Sprintf("127.%d.%d.%d", 1+pid>>8%128, pid%256, 1+natsAlone.Add(1)%250)
	n.start(tb, binary, dir, fmt.Sprintf("%s:%d", host, FreePort(tb)), "")
	n.await(tb)
	return n
}

// start starts the server with a configuration that listens at addr.
func (n *NATSProcess) start(tb testing.TB, binary, dir, addr, cluster string) {
	tb.Helper()
	n.URL = "nats://" + addr
	config := filepath.Join(dir, n.Name+".conf")
	text := fmt.Sprintf("server_name: %s\nlisten: %q\njetstream {store_dir: %q, sync_interval: always}\n%s", n.Name, addr, filepath.Join(dir, n.Name), cluster)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	n.run = func(tb testing.TB) *process { return startProcess(tb, nil, binary, "-c", config) }
	n.p = n.run(tb)
}

// await waits until the server takes connections.
func (n *NATSProcess) await(tb testing.TB) {
	tb.Helper()
	Eventually(tb, time.Minute, func() error {
		nc, err := nats.Connect(n.URL)
		if err != nil {
			return errors.Join(err, errors.New(n.p.tail()))
		}
		nc.Close()
		return nil
	})
}

// NATSProcesses starts three NATS servers with JetStream as processes that replicate to
// each other. They end with the test.
func NATSProcesses(tb testing.TB) []*NATSProcess {
	tb.Helper()
	dir, binary := tb.TempDir(), NATSBinary(tb)
	var routes []string
	for range 3 {
		routes = append(routes, fmt.Sprintf("127.0.0.1:%d", FreePort(tb)))
	}
	var nodes []*NATSProcess
	for i, route := range routes {
		n := &NATSProcess{Name: fmt.Sprintf("n%d", i)}
		n.start(tb, binary, dir, fmt.Sprintf("127.0.0.1:%d", FreePort(tb)), fmt.Sprintf("cluster {name: testenv, listen: %q, routes: [\"nats://%s\"]}\n", route, strings.Join(routes, `", "nats://`)))
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		n.await(tb)
	}
	waitForMeta(tb, URLs(nodes))
	return nodes
}

// URLs returns the URL list of servers, as nats.Connect takes it.
func URLs(nodes []*NATSProcess) string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.URL)
	}
	return strings.Join(all, ",")
}

// DeleteConsumer deletes a durable consumer of a stream, if it is there and somebody
// answers.
func DeleteConsumer(tb testing.TB, url, stream, name string) {
	tb.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		return
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), 5*time.Second)
	defer cancel()
	_ = js.DeleteConsumer(ctx, stream, name) // see above
}
