package testenv

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Node is one server of a [NATSCluster].
type Node struct{ srv *server.Server }

// Stop ends the node without a farewell to the others.
func (n Node) Stop() {
	n.srv.Shutdown()
	n.srv.WaitForShutdown()
}

// NATSCluster starts three NATS servers with JetStream that replicate to each
// other, and returns the URL list of all of them. They end with the test.
func NATSCluster(tb testing.TB) (url string, nodes []Node) {
	tb.Helper()
	routes := server.RoutesFromStr(strings.Join([]string{freeURL(tb), freeURL(tb), freeURL(tb)}, ","))
	var urls []string
	for i := range 3 {
		o := &server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: tb.TempDir(),
			SyncAlways: true, NoSigs: true, NoLog: true, Routes: routes, JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 1 << 40,
		}
		o.Cluster.Name, o.Cluster.Host = "testenv", "127.0.0.1"
		if _, err := fmt.Sscanf(routes[i].Port(), "%d", &o.Cluster.Port); err != nil {
			tb.Fatal(err)
		}
		srv, err := server.NewServer(o)
		if err != nil {
			tb.Fatal(err)
		}
		go srv.Start() // Stop waits for its goroutines
		n := Node{srv}
		tb.Cleanup(n.Stop)
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		if !n.srv.ReadyForConnections(2 * time.Minute) {
			tb.Fatal("NATS cluster: a node is not ready")
		}
		urls = append(urls, n.srv.ClientURL())
	}
	url = strings.Join(urls, ",")
	waitForMeta(tb, url)
	return url, nodes
}

// waitForMeta waits until the cluster can create replicated streams.
func waitForMeta(tb testing.TB, url string) {
	tb.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		tb.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), 2*time.Minute)
	defer cancel()
	for {
		err := probe(ctx, js)
		if err == nil {
			return
		}
		if !wait(ctx, 50*time.Millisecond) {
			tb.Fatalf("NATS cluster elects no leader: %v", err)
		}
	}
}

// probe creates a replicated stream. What is asked before there is a leader gets
// no answer at all, so each try has a short time.
func probe(ctx context.Context, js jetstream.JetStream) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "PROBE", Subjects: []string{"probe"}, Replicas: 3, Storage: jetstream.MemoryStorage})
	if err != nil {
		return err
	}
	return js.DeleteStream(ctx, "PROBE")
}

func freeURL(tb testing.TB) string { return fmt.Sprintf("nats://127.0.0.1:%d", FreePort(tb)) }
