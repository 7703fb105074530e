package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/serve"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/catalog"
	"github.com/holdfast-dev/holdfast/services/catalog/projection"
	"github.com/holdfast-dev/holdfast/services/gateway"
	"github.com/holdfast-dev/holdfast/services/gateway/monitor"
)

func (d *daemon) catalogService(_ context.Context, log *zap.Logger) (serve.Service, error) {
	b := d.b
	p := projection.New(catalogPath(d.c), b.Log(), log)
	p.OnDamage(b.Damaged)
	q, err := b.NewQueries("holdfast-catalog")
	if err != nil {
		return serve.Service{}, err
	}
	err = errors.Join(
		bus.Answer(q, catalog.SubjectList, p.List), bus.Answer(q, catalog.SubjectGet, p.Get), bus.Answer(q, catalog.SubjectRestore, p.Restore),
		bus.Answer(q, catalog.SubjectProjects, p.Projects), bus.Answer(q, catalog.SubjectFigures, p.Figures),
	)
	if !d.c.Has(config.Gateway) { // else that says it of the one that answers
		d.monitor.Check(catalogCheck(p))
		d.monitor.Register(monitor.Catalog(p))
	}
	return serve.Service{Name: config.Catalog, Run: func(ctx context.Context) error {
		return errors.Join(p.Run(ctx), q.Close())
	}}, err
}

// maxBehind is how long the catalog may be behind the log before that is not ready.
const maxBehind = 10 * time.Second

// catalogCheck says whether a catalog answers and is near the end of the log.
func catalogCheck(r catalog.Reader) monitor.Check {
	return monitor.Check{Name: "catalog", Do: func(ctx context.Context) error {
		f, err := r.Figures(ctx, catalog.Figures{})
		if err == nil && f.Behind > maxBehind {
			err = fmt.Errorf("the catalog is %d events behind the event log and has not come nearer for %s", f.Lag, f.Behind.Round(time.Second))
		}
		return err
	}}
}

// monitorLog adds the checks and metrics of the event log.
func (d *daemon) monitorLog() {
	d.monitor.Check(
		monitor.Check{Name: "nats", Do: d.b.Connected}, monitor.Check{Name: "reads", Do: d.b.Readable},
		monitor.Check{Name: "writes", Do: d.b.Writable}, monitor.Check{Name: "consumers", Do: d.b.Subscribed},
	)
	if d.c.NATS.URL == "" {
		d.monitor.Check(monitor.Check{Name: "disk", Do: func(context.Context) error { return diskOfLog(d.c) }})
	}
	d.monitor.Register(monitor.Damage(func() bool { return d.b.Damage() != nil }))
}

func (d *daemon) gatewayService(ctx context.Context, log *zap.Logger) (serve.Service, error) {
	b, gc := d.b, gateway.Config{Listen: d.c.HTTP.Listen, MaxWait: d.c.HTTP.MaxWait, MaxQueued: d.c.HTTP.MaxQueued, Monitor: d.monitor, Metrics: d.c.HTTP.MetricsListen == "", Logger: log}
	if d.c.HTTP.TLS.Cert != "" {
		cert := &certificate{}
		if err := d.reload.add(cert.load); err != nil {
			return serve.Service{}, err
		}
		gc.TLS = &tls.Config{GetCertificate: cert.get, MinVersion: tls.VersionTLS12}
	}
	commands, err := b.Commands()
	if err != nil {
		return serve.Service{}, err
	}
	reader, tail := catalog.Client{Ask: b.AskSoon}, b.NewTail()
	var room func() error
	if d.c.NATS.URL == "" {
		room = func() error { return diskOfLog(d.c) }
	}
	d.monitor.Check(catalogCheck(reader))
	g, err := gateway.New(ctx, gc, gateway.Backend{
		Send: commands.Send, Log: b.Log(), Catalog: reader, Watch: tail.Watch, Progress: b.Progress, Damage: b.Damage, Health: b.Health, Queued: b.Queued,
		Archive: func(ctx context.Context, pool string, q backup.ArchiveRead) ([]byte, error) {
			return readArchive(ctx, b, pool, q)
		},
		Alive:   func(ctx context.Context, service, pool string) bool { return alive(ctx, b, service, pool) },
		Waiting: b.Waiting, Find: b.Log().Find, Backlog: b.Backlog, DeadLetters: b.DeadLetters, Room: room,
		Sign: func(ctx context.Context, pool string, q backup.ArchiveSign) (url string, err error) {
			err = b.Ask(ctx, backup.SignSubject(pool), q, &url)
			return url, err
		},
	})
	if err != nil {
		return serve.Service{}, fmt.Errorf("http.listen: %w", err)
	}
	setKeys := func(c config.Config) error {
		c.DataDir = d.c.DataDir // holds until the next start
		keys, err := apiKeys(c, log, d.stderr)
		if err == nil {
			g.SetKeys(keys)
		}
		return err
	}
	if err := d.reload.add(setKeys); err != nil { // after the port is open: a key is shown only to who can use it
		return serve.Service{}, err
	}
	log.Info("listening", zap.String("address", g.Addr().String()))
	return serve.Service{Name: config.Gateway, Run: func(ctx context.Context) error {
		return serve.All(ctx, grace, serve.Service{Name: "tail", Run: tail.Run}, serve.Service{Name: "http", Run: g.Run})
	}}, nil
}
