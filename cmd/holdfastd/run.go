package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
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
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/catalog"
	"github.com/holdfast-dev/holdfast/services/catalog/projection"
	"github.com/holdfast-dev/holdfast/services/gateway"
)

// grace is how long the services may take to stop.
const grace = 30 * time.Second

// connectWait is how long a command waits for a server, or for a cluster that elects its
// leader.
const connectWait = 15 * time.Second

// run runs the services of c until ctx ends.
func run(ctx context.Context, c config.Config, log *zap.Logger, stderr io.Writer) error {
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
		start func(context.Context, config.Config, *bus.Bus, *zap.Logger, io.Writer) (serve.Service, error)
	}{{config.Catalog, catalogService}, {config.Worker, workerService}, {config.Restorer, restoreService}, {config.Gateway, gatewayService}} {
		if !c.Has(s.name) {
			continue
		}
		service, err := s.start(ctx, c, b, log.With(logging.Service(s.name)), stderr)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		services = append(services, service)
	}
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
		srv, err = bus.StartServer(bus.ServerConfig{Dir: filepath.Join(c.DataDir, "nats"), Listen: c.NATS.Listen, User: c.NATS.User, Pass: c.NATS.Password, Logger: log.With(logging.Service("nats"))})
		if err != nil {
			return nil, nil, err
		}
	}
	if wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	b, err = bus.Connect(ctx, srv, bus.Config{
		URL: c.NATS.URL, Creds: c.NATS.Creds, CA: c.NATS.TLS.CA, Cert: c.NATS.TLS.Cert, Key: c.NATS.TLS.Key, Replicas: c.NATS.Replicas,
		Name: "holdfastd", Logger: log.With(logging.Service("bus")),
	})
	if err != nil && srv != nil {
		srv.Stop()
	}
	return srv, b, err
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

// tend restarts the embedded server when it has switched writing off, which it
// does for good after it has once met a full disk, and there is room again.
func tend(ctx context.Context, srv *bus.Server, b *bus.Bus, c config.Config, log *zap.Logger) error {
	broken := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(tendEvery):
		}
		broken = broken || b.Unstored() > 0 || !srv.Healthy()
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

func catalogService(_ context.Context, c config.Config, b *bus.Bus, log *zap.Logger, _ io.Writer) (serve.Service, error) {
	p := projection.New(catalogPath(c), b.Log(), log)
	p.OnDamage(b.Damaged)
	q, err := b.NewQueries("holdfast-catalog")
	if err != nil {
		return serve.Service{}, err
	}
	err = errors.Join(
		bus.Answer(q, catalog.SubjectList, p.List), bus.Answer(q, catalog.SubjectGet, p.Get), bus.Answer(q, catalog.SubjectRestore, p.Restore),
		bus.Answer(q, catalog.SubjectProjects, p.Projects), bus.Answer(q, catalog.SubjectFigures, p.Figures),
	)
	return serve.Service{Name: config.Catalog, Run: func(ctx context.Context) error {
		return errors.Join(p.Run(ctx), q.Close())
	}}, err
}

// maxBehind is how long the catalog may be behind the log before that is not ready.
const maxBehind = 10 * time.Second

func gatewayService(ctx context.Context, c config.Config, b *bus.Bus, log *zap.Logger, stderr io.Writer) (serve.Service, error) {
	keys, err := apiKeys(c, stderr)
	if err != nil {
		return serve.Service{}, err
	}
	gc := gateway.Config{Listen: c.HTTP.Listen, MaxWait: c.HTTP.MaxWait, MaxQueued: c.HTTP.MaxQueued, Keys: keys, Logger: log}
	if c.HTTP.TLS.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.HTTP.TLS.Cert, c.HTTP.TLS.Key)
		if err != nil {
			return serve.Service{}, fmt.Errorf("http.tls: %w", err)
		}
		gc.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	commands, err := b.Commands()
	if err != nil {
		return serve.Service{}, err
	}
	reader, tail := catalog.Client{Ask: b.AskSoon}, b.NewTail()
	gc.Checks = []gateway.Check{
		{Name: "event log", Do: b.Ready},
		{Name: "catalog", Do: func(ctx context.Context) error {
			f, err := reader.Figures(ctx, catalog.Figures{})
			if err == nil && f.Behind > maxBehind {
				err = fmt.Errorf("the catalog is %d events behind the event log and has not come nearer for %s", f.Lag, f.Behind.Round(time.Second))
			}
			return err
		}},
	}
	if c.NATS.URL == "" {
		gc.Checks = append(gc.Checks, gateway.Check{Name: "disk", Do: func(context.Context) error { return diskOfLog(c) }})
	}
	g, err := gateway.New(ctx, gc, gateway.Backend{
		Send: commands.Send, Log: b.Log(), Catalog: reader, Watch: tail.Watch, Progress: b.Progress, Damage: b.Damage, Health: b.Health, Queued: b.Queued, Waiting: b.Waiting, DeadLetters: b.DeadLetters,
		Archive: func(ctx context.Context, pool string, q backup.ArchiveRead) ([]byte, error) {
			return readArchive(ctx, b, pool, q)
		},
		Alive: func(ctx context.Context, pool string) bool { return alive(ctx, b, pool) },
		Sign: func(ctx context.Context, pool string, q backup.ArchiveSign) (url string, err error) {
			err = b.Ask(ctx, backup.SignSubject(pool), q, &url)
			return url, err
		},
	})
	if err != nil {
		return serve.Service{}, fmt.Errorf("http.listen: %w", err)
	}
	log.Info("listening", zap.String("address", g.Addr().String()))
	return serve.Service{Name: config.Gateway, Run: func(ctx context.Context) error {
		return serve.All(ctx, grace, serve.Service{Name: "tail", Run: tail.Run}, serve.Service{Name: "http", Run: g.Run})
	}}, nil
}
