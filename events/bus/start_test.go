package bus_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/testenv"
)

// soon is how long a mistake may take to be said.
const soon = 10 * time.Second // 3 s on a machine that does nothing else

// waits connects in vain, and checks that what it waits for is said soon.
func waits(t *testing.T, cfg bus.Config, words string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	core, logs := observer.New(zap.WarnLevel)
	cfg.Logger = zap.New(core)
	ended := make(chan error, 1)
	go func() {
		_, err := bus.Connect(ctx, nil, cfg)
		ended <- err
	}()
	testenv.Eventually(t, soon, func() error {
		for _, e := range logs.All() {
			if strings.Contains(fmt.Sprint(e.Message, e.ContextMap()), words) {
				return nil
			}
		}
		return fmt.Errorf("logged %v", logs.All())
	})
	cancel()
	if err := <-ended; err == nil {
		t.Error("it connected")
	}
}

// TestStartBeforeNATS connects before there is a server.
func TestStartBeforeNATS(t *testing.T) {
	port := testenv.FreePort(t)
	cfg := bus.Config{URL: fmt.Sprintf("nats://u:secret@127.0.0.1:%d", port)}
	waits(t, cfg, "waiting for the NATS server")
	ended := make(chan error, 1)
	go func() {
		b, err := bus.Connect(t.Context(), nil, cfg)
		if err == nil {
			b.Close()
		}
		ended <- err
	}()
	srv, err := bus.StartServer(bus.ServerConfig{Dir: t.TempDir(), Listen: fmt.Sprintf("127.0.0.1:%d", port), User: "u", Pass: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestNoJetStream(t *testing.T) {
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	go srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("not ready")
	}
	waits(t, bus.Config{URL: srv.ClientURL()}, "JetStream is not enabled")
}

// TestMistakesAtStart are said at once.
func TestMistakesAtStart(t *testing.T) {
	srv, err := bus.StartServer(bus.ServerConfig{Dir: t.TempDir(), Listen: "127.0.0.1:-1", User: "u", Pass: "p"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	addr := strings.TrimPrefix(srv.ClientURL(), "nats://")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, test := range map[string]struct {
		start func() error
		words string
	}{
		"replicas": {func() error {
			_, err := bus.Connect(t.Context(), nil, bus.Config{URL: "nats://u:p@" + addr, Replicas: 3})
			return err
		}, "not part of a cluster"},
		"replicas that are looked at": {func() error {
			_, err := bus.Inspect(t.Context(), bus.Config{URL: "nats://u:p@" + addr, Replicas: 3})
			return err
		}, "not part of a cluster"},
		"password": {func() error {
			_, err := bus.Connect(t.Context(), nil, bus.Config{URL: "nats://u:wrong@" + addr})
			return err
		}, "Authorization"},
		"port": {func() error {
			_, err := bus.StartServer(bus.ServerConfig{Dir: t.TempDir(), Listen: l.Addr().String(), User: "u", Pass: "p"})
			return err
		}, "address already in use"},
		"folder": {func() error {
			_, err := bus.StartServer(bus.ServerConfig{Dir: filepath.Join(file, "nats")})
			return err
		}, "not a directory"},
	} {
		begin := time.Now()
		err := test.start()
		if err == nil || !strings.Contains(err.Error(), test.words) || strings.Contains(err.Error(), "wrong@") {
			t.Errorf("%s: %v, want %q", name, err, test.words)
		}
		if took := time.Since(begin); took > soon {
			t.Errorf("%s: said after %s", name, took)
		}
	}
}

// TestReplicasAreRaised connects with more replicas than the streams have. Whoever only
// looks changes nothing, and says what will happen.
func TestReplicasAreRaised(t *testing.T) {
	url, _ := testenv.NATSCluster(t)
	inspect := func(want int, words string) {
		t.Helper()
		notes, err := bus.Inspect(t.Context(), bus.Config{URL: url, Replicas: 3})
		if err != nil || len(notes) != want || want > 0 && !strings.Contains(notes[0], words) {
			t.Errorf("%q, %v; want %d such as %q", notes, err, want, words)
		}
	}
	inspect(0, "")
	for _, n := range []int{1, 3} {
		if n == 3 {
			inspect(5, "The stream HOLDFAST_EVENTS has 1 replicas; holdfastd gives it the 3 of nats.replicas")
			inspect(5, "The stream HOLDFAST_EVENTS has 1 replicas")
		}
		b, err := bus.Connect(t.Context(), nil, bus.Config{URL: url, Replicas: n})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		for _, name := range []string{"HOLDFAST_EVENTS", "HOLDFAST_COMMANDS"} {
			testenv.Eventually(t, time.Minute, func() error {
				s, err := bus.JetStream(b).Stream(t.Context(), name)
				if err != nil {
					return err
				}
				if i := s.CachedInfo(); i.Config.Replicas != n || n > 1 && (i.Cluster == nil || len(i.Cluster.Replicas) != n-1) {
					return errors.New("replicas")
				}
				return nil
			})
		}
	}
}
