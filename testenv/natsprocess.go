package testenv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	NATSPlace
	monitor string // where it says how it is
	p       *process
	run     func(tb testing.TB) *process
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

// PID returns the id of the process.
func (n *NATSProcess) PID() int { return n.p.cmd.Process.Pid }

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

// start starts the server with a configuration that listens at addr. more is the rest of
// the configuration, within JetStream's block and behind it.
func (n *NATSProcess) start(tb testing.TB, binary, addr, jetStream, more string) {
	tb.Helper()
	n.URL = "nats://" + addr
	config := filepath.Join(tb.TempDir(), n.Name+".conf")
	text := fmt.Sprintf("server_name: %s\nlisten: %q\njetstream {store_dir: %q, sync_interval: always%s}\n%s", n.Name, addr, n.Dir, jetStream, more)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	n.run = func(tb testing.TB) *process {
		tb.Helper()
		return startProcessOn(tb, n.Machine, nil, binary, "-c", config)
	}
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

// NATSPlace is where a server of a cluster runs and keeps its streams. In the zero place
// that is this machine and a folder of the test.
type NATSPlace struct {
	Machine *Machine
	Dir     string
}

func (p NATSPlace) addr(tb testing.TB) string {
	tb.Helper()
	host := "127.0.0.1"
	if p.Machine != nil {
		host = p.Machine.Addr
	}
	return fmt.Sprintf("%s:%d", host, FreePort(tb))
}

// NATSProcesses starts three NATS servers with JetStream as processes that replicate to
// each other. They end with the test.
func NATSProcesses(tb testing.TB) []*NATSProcess {
	tb.Helper()
	dir := tb.TempDir()
	return NATSProcessesAt(tb, [3]NATSPlace{{Dir: filepath.Join(dir, "n0")}, {Dir: filepath.Join(dir, "n1")}, {Dir: filepath.Join(dir, "n2")}})
}

// NATSProcessesAt is NATSProcesses in chosen places.
func NATSProcessesAt(tb testing.TB, places [3]NATSPlace) []*NATSProcess {
	tb.Helper()
	binary := NATSBinary(tb)
	var routes []string
	for _, place := range places {
		routes = append(routes, place.addr(tb))
	}
	var nodes []*NATSProcess
	for i, route := range routes {
		n := &NATSProcess{Name: fmt.Sprintf("n%d", i), NATSPlace: places[i]}
		n.monitor = n.addr(tb)
		n.start(tb, binary, n.addr(tb), "", fmt.Sprintf("http: %q\ncluster {name: testenv, listen: %q, routes: [\"nats://%s\"]}\n", n.monitor, route, strings.Join(routes, `", "nats://`)))
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

// WholeStream waits until every server of a stream has what its leader has, by its own
// word and by that of the leader, and returns the leader's name.
func WholeStream(tb testing.TB, nodes []*NATSProcess, stream string) (leader string) {
	tb.Helper()
	Eventually(tb, 2*time.Minute, func() error {
		for _, n := range nodes {
			if err := get(tb.Context(), "http://"+n.monitor+"/healthz", http.StatusOK); err != nil {
				return err
			}
		}
		nc, err := nats.Connect(URLs(nodes))
		if err != nil {
			return err
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			return err
		}
		s, err := js.Stream(tb.Context(), stream)
		if err != nil {
			return err
		}
		c := s.CachedInfo().Cluster
		if c == nil || c.Leader == "" || len(c.Replicas) != 2 {
			return errors.New("no leader")
		}
		for _, r := range c.Replicas {
			if !r.Current || r.Offline {
				return fmt.Errorf("%s is behind", r.Name)
			}
		}
		leader = c.Leader
		return nil
	})
	return leader
}

// LeadBy waits until every server of a stream has what its leader has, and makes one of
// them the leader.
func LeadBy(tb testing.TB, nodes []*NATSProcess, stream, node string) {
	tb.Helper()
	const patience = 10 * time.Second // a vote takes its time, and a new one would end what a leader has begun
	nc, err := nats.Connect(URLs(nodes))
	if err != nil {
		tb.Fatal(err)
	}
	defer nc.Close()
	for range 10 {
		if WholeStream(tb, nodes, stream) == node {
			return
		}
		if _, err := nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+stream, []byte(`{"placement": {"preferred": "`+node+`"}}`), patience); err != nil {
			tb.Logf("%s does not step down: %v", stream, err)
		}
		ctx, cancel := context.WithTimeout(tb.Context(), patience)
		for WholeStream(tb, nodes, stream) != node && wait(ctx, time.Second) {
		}
		cancel()
	}
	tb.Fatalf("%s does not become the leader of %s", node, stream)
}
