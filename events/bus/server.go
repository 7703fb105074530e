package bus

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// ServerConfig says how to run the embedded server.
type ServerConfig struct {
	Dir    string // of the streams; made with mode 0700
	Listen string // host:port for subscribers of other processes; empty: no port at all
	User   string // with Password, required when Listen is set
	Pass   string
	Logger *zap.Logger // takes what the server says; nil: nothing
}

// Server is an embedded NATS server with JetStream. Every acknowledged write is
// on the disk.
type Server struct {
	cfg ServerConfig

	mu  sync.Mutex
	cur *server.Server
}

// readyTimeout is for logs of many million events, whose indexes are read at start.
const readyTimeout = 60 * time.Second

// StartServer starts an embedded server and returns when it is ready. The caller
// must call [Server.Stop].
func StartServer(cfg ServerConfig) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	s := &Server{cfg: cfg}
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) start() error {
	o := &server.Options{
		ServerName: "holdfast", DontListen: s.cfg.Listen == "", Host: "127.0.0.1", Port: -1, // 0 would be 4222
		JetStream: true, StoreDir: s.cfg.Dir, SyncAlways: true,
		JetStreamMaxStore:  1 << 50, // the disk is the limit, and min_free guards it
		JetStreamMaxMemory: 64 << 20, MaxPayload: 1 << 20, NoSigs: true, NoLog: true,
	}
	if s.cfg.Listen != "" {
		if s.cfg.User == "" || s.cfg.Pass == "" {
			return errors.New("nats.listen needs nats.user and nats.password: whoever reaches the port could write to the log")
		}
		host, port, err := net.SplitHostPort(s.cfg.Listen)
		if err != nil {
			return fmt.Errorf("nats.listen: %w", err)
		}
		o.Host = host
		if _, err := fmt.Sscanf(port, "%d", &o.Port); err != nil {
			return fmt.Errorf("nats.listen: port %q is not a number", port)
		}
	}
	if s.cfg.User != "" {
		o.Username, o.Password = s.cfg.User, s.cfg.Pass
	}
	srv, err := server.NewServer(o)
	if err != nil {
		return fmt.Errorf("embedded NATS server: %w", err)
	}
	fatal := make(chan string, 1)
	srv.SetLoggerV2(serverLog{s.cfg.Logger.Sugar(), fatal}, false, false, false)
	go srv.Start() // returns by itself; Stop waits for the server's goroutines
	if err := s.awaitReady(srv, fatal); err != nil {
		srv.Shutdown()
		return err
	}
	s.cur = srv
	return nil
}

// awaitReady waits until a server is ready, or says why it cannot be.
func (s *Server) awaitReady(srv *server.Server, fatal <-chan string) error {
	const look = 100 * time.Millisecond
	for begin := time.Now(); !srv.ReadyForConnections(look); {
		select {
		case why := <-fatal:
			return fmt.Errorf("embedded NATS server: %s", why)
		default:
		}
		if time.Since(begin) > readyTimeout {
			return fmt.Errorf("embedded NATS server in %s was not ready within %s", s.cfg.Dir, readyTimeout)
		}
	}
	return nil
}

// InProcessConn implements [nats.InProcessConnProvider]. After a Restart it leads
// to the new server.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cur.InProcessConn()
}

// Healthy reports whether JetStream takes writes. A server that has once met a
// full disk has switched JetStream off and needs a Restart.
func (s *Server) Healthy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cur.Running() && s.cur.JetStreamEnabled()
}

// Restart stops the server and starts it again on the same directory.
// Connections made by way of this Server reconnect by themselves.
func (s *Server) Restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cur.Shutdown()
	s.cur.WaitForShutdown()
	return s.start()
}

// ClientURL returns where other processes reach the server, or "" without a port.
func (s *Server) ClientURL() string {
	if s.cfg.Listen == "" {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cur.ClientURL()
}

// Stop ends the server. Close the connections to it first.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cur.Shutdown()
	s.cur.WaitForShutdown()
}

func (s *Server) options() []nats.Option {
	o := []nats.Option{nats.InProcessServer(s)}
	if s.cfg.User != "" {
		o = append(o, nats.UserInfo(s.cfg.User, s.cfg.Pass))
	}
	return o
}
