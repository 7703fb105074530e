package monitor

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// Server serves a [Monitor] on a port of its own.
type Server struct {
	listener net.Listener
	http     http.Server
}

// Listen opens a port, host:port. The caller must call [Server.Run].
func Listen(ctx context.Context, address string, m *Monitor) (*Server, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", m.Healthz())
	mux.Handle("GET /readyz", m.Readyz())
	mux.Handle("GET /metrics", m.Metrics())
	const patience = 10 * time.Second
	return &Server{l, http.Server{Handler: mux, ReadHeaderTimeout: patience, ReadTimeout: patience, WriteTimeout: 2 * patience}}, nil
}

// Addr returns where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.http.Serve(s.listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	err := s.http.Close() // an answer that is cut off is asked for again
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
