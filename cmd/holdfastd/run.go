package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/destination/local"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/dirlock"
	"github.com/holdfast-dev/holdfast/internal/logging"
	"github.com/holdfast-dev/holdfast/internal/serve"
	"github.com/holdfast-dev/holdfast/services/catalog/projection"
	"github.com/holdfast-dev/holdfast/services/gateway/monitor"
)

// grace is how long the services may take to stop.
const grace = 30 * time.Second

// connectWait is how long a command waits for a server, or for a cluster that elects its
// leader.
const connectWait = 15 * time.Second

// daemon is what the services of one process share.
type daemon struct {
	c       config.Config
	log     *zap.Logger
	stderr  io.Writer
	monitor *monitor.Monitor
	reload  *reloader
	b       *bus.Bus
}

// run runs the services of c until ctx ends. Each value of hangups reloads what can be
// reloaded.
func run(ctx context.Context, c config.Config, load func() (config.Config, error), hangups <-chan os.Signal, log *zap.Logger, stderr io.Writer) error {
	d := &daemon{c: c, log: log, stderr: stderr, monitor: monitor.New(), reload: &reloader{load: load, log: log, now: c}}
	if err := d.checkPort(ctx); err != nil {
		return err
	}
	services := []serve.Service{{Run: d.run}, {Name: "reload", Run: func(ctx context.Context) error { return d.reload.run(ctx, hangups) }}}
	if c.HTTP.MetricsListen != "" {
		s, err := monitor.Listen(ctx, c.HTTP.MetricsListen, d.monitor)
		if err != nil {
			return fmt.Errorf("http.metrics_listen: %w", err)
		}
		log.Info("serving metrics", zap.String("address", s.Addr().String()))
		services = append(services, serve.Service{Name: "http.metrics_listen", Run: s.Run})
	}
	return serve.All(ctx, 2*grace, services...)
}

// checkPort says at once that the port of the gateway cannot be opened. It is opened
// for good when the log is in reach: until then nobody could be answered.
func (d *daemon) checkPort(ctx context.Context) error {
	if !d.c.Has(config.Gateway) {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", d.c.HTTP.Listen)
	if err != nil {
		return fmt.Errorf("http.listen: %w", err)
	}
	return l.Close()
}

// run runs the services until ctx ends.
func (d *daemon) run(ctx context.Context) error {
	c, log := d.c, d.log
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	unlock, err := lockDataDir(c)
	if held, ok := errors.AsType[*dirlock.HeldError](err); ok {
		return fmt.Errorf("data_dir: %w; stop that process, or give this one a data_dir of its own", held)
	}
	if err != nil {
		return err
	}
	defer unlock()
	d.monitor.Waiting("Waiting for the NATS server")
	srv, b, err := connect(ctx, c, log, 0)
	if err != nil {
		return err
	}
	defer func() {
		b.Close()
		if srv != nil {
			srv.Stop()
		}
	}()
	d.b = b
	d.monitorLog()
	d.monitor.Waiting("Waiting for the event log")
	if err := await(ctx, log, func() error { return examine(ctx, c, b) }); err != nil {
		return err
	}
	services := []serve.Service{{Name: "log", Run: b.Watch}}
	if srv != nil {
		services = append(services, serve.Service{Name: "nats", Run: func(ctx context.Context) error { return tend(ctx, srv, b, c, log) }},
			serve.Service{Name: "socket", Run: func(ctx context.Context) error { return admit(ctx, srv, c, log) }})
	}
	for _, s := range []struct {
		name  string
		start func(context.Context, *zap.Logger) (serve.Service, error)
	}{{config.Catalog, d.catalogService}, {config.Worker, d.workerService}, {config.Restorer, d.restoreService}, {config.Gateway, d.gatewayService}} {
		if !c.Has(s.name) {
			continue
		}
		service, err := s.start(ctx, log.With(logging.Service(s.name)))
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		services = append(services, service)
	}
	d.monitor.Started()
	return serve.All(ctx, grace, services...)
}

// await calls f until the event log is in reach, and says what it waits for.
func await(ctx context.Context, log *zap.Logger, f func() error) error {
	const again = time.Second
	for said := false; ; said = true {
		err := f()
		if !errors.Is(err, events.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		if !said {
			log.Warn("waiting for the event log", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(again):
		}
	}
}

// catalogPath is where the catalog of this process lies.
func catalogPath(c config.Config) string { return filepath.Join(c.DataDir, "catalog.db") }

// examine looks whether the log is whole, and is the one that the catalog was built
// from, before anything is written to it.
func examine(ctx context.Context, c config.Config, b *bus.Bus) error {
	known, err := projection.Checkpoint(ctx, catalogPath(c))
	if err != nil {
		return fmt.Errorf("catalog: %w", err)
	}
	b.Expect(known)
	return b.Examine(ctx)
}

// connect starts the embedded server, unless the configuration names another, for which
// it waits; 0 is as long as ctx lasts.
func connect(ctx context.Context, c config.Config, log *zap.Logger, wait time.Duration) (srv *bus.Server, b *bus.Bus, err error) {
	if c.NATS.URL == "" {
		if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
			return nil, nil, fmt.Errorf("data_dir: %w", err)
		}
		srv, err = bus.StartServer(bus.ServerConfig{Dir: filepath.Join(c.DataDir, "nats"), Listen: c.NATS.Listen, User: c.NATS.User, Pass: string(c.NATS.Password), Logger: log.With(logging.Service("nats"))})
		if err != nil {
			return nil, nil, err
		}
	}
	if wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	bc := busConfig(c)
	bc.Logger = log.With(logging.Service("bus"))
	b, err = bus.Connect(ctx, srv, bc)
	if err != nil && srv != nil {
		srv.Stop()
	}
	return srv, b, err
}

// busConfig returns how NATS is reached.
func busConfig(c config.Config) bus.Config {
	return bus.Config{
		URL: string(c.NATS.URL), Creds: c.NATS.Creds, CA: c.NATS.TLS.CA, Cert: c.NATS.TLS.Cert, Key: c.NATS.TLS.Key, Replicas: c.NATS.Replicas, Name: "holdfastd",
	}
}

// admit lets commands of this machine use the embedded server.
func admit(ctx context.Context, srv *bus.Server, c config.Config, log *zap.Logger) error {
	if err := srv.ServeSocket(ctx, socketPath(c)); err != nil {
		log.Warn("commands such as sweep and adopt cannot be used while this daemon runs: there is no socket", zap.Error(err))
	}
	<-ctx.Done()
	return nil
}

// tendEvery is how often the embedded server is looked after.
const tendEvery = 5 * time.Second

// tend restarts the embedded server when it has switched writing off, which it does
// for good after it has once met a full disk, and there is room again.
func tend(ctx context.Context, srv *bus.Server, b *bus.Bus, c config.Config, log *zap.Logger) error {
	broken := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(tendEvery):
		}
		// One write that failed may have met a disk that was slow.
		broken = broken || !srv.Healthy() || b.Unstored() > 0 && b.Probe(ctx) != nil && ctx.Err() == nil
		if !broken {
			continue
		}
		if free, err := local.Free(c.DataDir); err != nil || free < int64(c.MinFree)/2 {
			log.Warn("the event log takes no writes and there is too little space to restart it", zap.Int64("free", free))
			continue
		}
		log.Warn("the event log takes no writes; restarting its server")
		if err := srv.Restart(); err != nil {
			return err
		}
		b.Unstored() // what failed before the restart is forgotten
		broken = false
	}
}
