package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/dirlock"
)

// socketPath is where a running daemon with an embedded server lets commands in.
func socketPath(c config.Config) string { return filepath.Join(c.DataDir, "holdfastd.sock") }

// attach connects a command to the log: to the external server, to the embedded
// one of the daemon that runs on the same data_dir, or, when none runs, to one that
// it starts for itself. The caller must call detach.
func attach(ctx context.Context, c config.Config) (b *bus.Bus, detach func(), err error) {
	if c.NATS.URL == "" && answers(ctx, socketPath(c)) {
		wait, cancel := context.WithTimeout(ctx, connectWait)
		defer cancel()
		b, err = bus.Connect(wait, nil, bus.Config{Socket: socketPath(c), User: c.NATS.User, Password: string(c.NATS.Password), Name: "holdfastd command"})
		if err != nil {
			return nil, nil, err
		}
		return b, b.Close, b.Examine(ctx)
	}
	c.Services = nil // a command runs none
	unlock, err := lockDataDir(c)
	if held, ok := errors.AsType[*dirlock.HeldError](err); ok {
		return nil, nil, fmt.Errorf("data_dir: %w, whose socket %s does not answer; restart that process, or stop it and run this command again", held, socketPath(c))
	}
	if err != nil {
		return nil, nil, err
	}
	srv, b, err := connect(ctx, c, zap.NewNop(), connectWait)
	if err != nil {
		unlock()
		return nil, nil, err
	}
	detach = func() {
		b.Close()
		if srv != nil {
			srv.Stop()
		}
		unlock()
	}
	if err := examine(ctx, c, b); err != nil {
		detach()
		return nil, nil, err
	}
	return b, detach, nil
}

// lockDataDir keeps other processes out of data_dir, if this one uses what lies in it:
// the embedded log or a catalog. The caller must call unlock.
func lockDataDir(c config.Config) (unlock func(), err error) {
	if c.NATS.URL != "" && !c.Has(config.Catalog) {
		return func() {}, nil
	}
	l, err := dirlock.Acquire(c.DataDir)
	if err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	return func() { _ = l.Release() }, nil // it ends with the process at the latest
}

func answers(ctx context.Context, socket string) bool {
	c, err := bus.DialSocket(ctx, socket)
	if err != nil {
		return false
	}
	_ = c.Close() // it was only a question
	return true
}
