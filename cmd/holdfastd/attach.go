package main

import (
	"context"
	"net"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/internal/config"
)

// socketPath is where a running daemon with an embedded server lets commands in.
func socketPath(c config.Config) string { return filepath.Join(c.DataDir, "holdfastd.sock") }

// attach connects a command to the log: to the external server, to the embedded
// one of the daemon that runs on the same data_dir, or, when none runs, to one that
// it starts for itself. The caller must call detach.
func attach(ctx context.Context, c config.Config) (b *bus.Bus, detach func(), err error) {
	if c.NATS.URL == "" && answers(ctx, socketPath(c)) {
		b, err = bus.Connect(ctx, nil, bus.Config{Socket: socketPath(c), User: c.NATS.User, Password: c.NATS.Password, Name: "holdfastd command"})
		if err != nil {
			return nil, nil, err
		}
		return b, b.Close, nil
	}
	srv, b, err := connect(ctx, c, zap.NewNop())
	if err != nil {
		return nil, nil, err
	}
	return b, func() {
		b.Close()
		if srv != nil {
			srv.Stop()
		}
	}, nil
}

func answers(ctx context.Context, socket string) bool {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return false
	}
	_ = c.Close() // it was only a question
	return true
}
