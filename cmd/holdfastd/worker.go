package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/drivers"
	"github.com/holdfast-dev/holdfast/destination/local"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/serve"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/backup/worker"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// safetySlots is how many restores are served with safety backups at a time. Each of
// these restores holds a slot, so there are hardly ever so many.
const safetySlots = 16

func (d *daemon) workerService(ctx context.Context, log *zap.Logger) (serve.Service, error) {
	c, b := d.c, d.b
	var state events.LogState
	err := await(ctx, log, func() (err error) {
		state, err = b.Log().State(ctx)
		return err
	})
	if err != nil {
		return serve.Service{}, err
	}
	wc, err := workerConfig(ctx, c, state.Identity, log)
	if err != nil {
		return serve.Service{}, err
	}
	wc.Report, wc.Waiting = b.Report, b.Waiting
	wc.Alive = func(ctx context.Context, pool string) bool { return alive(ctx, b, backup.Service, pool) }
	w := worker.New(wc, b.Log())
	damage := worker.Damage{Found: b.Damaged, Now: b.Damage, Resolved: b.Resolve}
	r, err := b.NewRouter(w.Reject)
	if err != nil {
		return serve.Service{}, err
	}
	r.AckWait = c.Backup.AckWait
	r.EnqueueJobs(bus.JobSource{Name: "backup-" + c.Pool, Kind: events.KindBackup, Event: "requested", Pool: c.Pool, Queue: backup.QueueBackups, Route: w.Queue})
	r.HandleJobs(bus.JobQueue{Name: backup.QueueBackups, Pool: c.Pool, Slots: c.Backup.Slots, AckWait: c.Backup.AckWait}, w)
	r.HandleJobs(bus.JobQueue{Name: backup.QueueSafety, Pool: c.Pool, Slots: safetySlots, AckWait: c.Backup.AckWait}, w)
	q, err := b.NewQueries("holdfast-archive-" + c.Pool)
	if err != nil {
		return serve.Service{}, err
	}
	err = errors.Join(
		bus.HandleCommand(r, backup.Service, c.Pool, backup.VerbCreate, w.Create),
		bus.HandleCommand(r, backup.Service, c.Pool, backup.VerbDelete, w.Delete),
		bus.HandleCommand(r, backup.Service, c.Pool, backup.VerbVerify, w.Verify, bus.OneAtATime()), // each reads a whole archive
		bus.HandleCommand(r, backup.Service, c.Pool, backup.VerbCancel, w.Cancel),
		bus.Answer(q, backup.AliveSubject(c.Pool), lives),
		bus.Answer(q, backup.ArchiveSubject(c.Pool), w.Read), bus.Answer(q, backup.SignSubject(c.Pool), w.Sign),
	)
	for name := range wc.Destinations {
		err = errors.Join(err, bus.Answer(q, backup.AnyArchiveSubject(name), w.Read))
	}
	return serve.Service{Name: config.Worker, Run: func(ctx context.Context) error {
		err := serve.All(ctx, grace, serve.Service{Name: "router", Run: r.Run}, serve.Service{Name: "sweep", Run: func(ctx context.Context) error {
			return w.Begin(ctx, b.Log(), damage)
		}}, serve.Service{Name: "register", Run: w.KeepRegistered})
		return errors.Join(err, q.Close(), closeAll(wc.Destinations))
	}}, err
}

// lives answers that this process lives.
func lives(context.Context, backup.Alive) (backup.Alive, error) { return backup.Alive{}, nil }

// alive reports whether a pool has a worker of a service. Only that nobody listens is a
// no: who does not answer in time may be busy.
func alive(ctx context.Context, b *bus.Bus, service, pool string) bool {
	subject := backup.AliveSubject(pool)
	if service == restore.Service {
		subject = restore.AliveSubject(pool)
	}
	var answer backup.Alive // as empty as the other one
	return !errors.Is(b.AskSoon(ctx, subject, backup.Alive{}, &answer), bus.ErrNobody)
}

// readArchive reads a range of an archive by a worker of its pool, or, when that has
// none, by any that has a destination of the same name.
func readArchive(ctx context.Context, b *bus.Bus, pool string, q backup.ArchiveRead) (data []byte, err error) {
	err = b.Ask(ctx, backup.ArchiveSubject(pool), q, &data)
	if errors.Is(err, bus.ErrNobody) {
		if other := b.Ask(ctx, backup.AnyArchiveSubject(q.Destination), q, &data); other == nil || !errors.Is(other, bus.ErrNobody) {
			err = other
		}
	}
	return data, err
}

// workerConfig returns what a worker works on. Its objects carry the identity of
// the log as their mark.
func workerConfig(ctx context.Context, c config.Config, mark string, log *zap.Logger) (worker.Config, error) {
	name, err := workerName()
	if err != nil {
		return worker.Config{}, err
	}
	wc := worker.Config{
		Pool: c.Pool, Name: name, Mark: mark, DefaultDestination: c.DefaultDestination, EncryptDefault: c.Encryption.Default,
		StallTimeout: c.Backup.StallTimeout, Logger: log, Room: func() error { return room(c) },
	}
	for _, s := range c.Encryption.Recipients {
		r, err := age.ParseX25519Recipient(s)
		if err != nil {
			return wc, fmt.Errorf("encryption.recipients: %w", checkRecipient(s))
		}
		wc.Recipients = append(wc.Recipients, r)
	}
	one := newClaims(c, true)
	for i, p := range c.Projects {
		wc.Projects = append(wc.Projects, worker.Project{ID: p.ID, Name: p.Name, Resolve: one.guard(one.projects[i])})
	}
	if wc.Identities, err = identities(c); err != nil {
		return wc, err
	}
	wc.Destinations, err = openDestinations(ctx, c, mark)
	return wc, err
}

func openDestinations(ctx context.Context, c config.Config, mark string) (map[string]destination.Store, error) {
	stores := map[string]destination.Store{}
	for name, settings := range c.Destinations {
		s, err := settings.(drivers.Settings).Open(ctx, drivers.Common{MinFree: int64(c.MinFree), Mark: mark})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("destination %s: %w", name, err), closeAll(stores))
		}
		stores[name] = s
	}
	return stores, nil
}

func closeAll(stores map[string]destination.Store) (err error) {
	for _, s := range stores {
		if c, ok := s.(io.Closer); ok {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}

// room says why no backup is accepted: below twice min_free the event log itself
// comes into danger.
func room(c config.Config) error {
	free, err := local.Free(c.DataDir)
	if err != nil {
		return err
	}
	if free < 2*int64(c.MinFree) {
		return fmt.Errorf("%d MiB free in data_dir, twice min_free is %d MiB", free>>20, 2*int64(c.MinFree)>>20)
	}
	return nil
}

// diskOfLog says that the disk of the embedded log is about to be full, or is.
func diskOfLog(c config.Config) error {
	free, err := local.Free(c.DataDir)
	if err == nil && free < int64(c.MinFree) {
		err = fmt.Errorf("%d MiB free in data_dir, min_free is %d MiB: make room, or the event log takes no writes", free>>20, int64(c.MinFree)>>20)
	}
	return err
}
