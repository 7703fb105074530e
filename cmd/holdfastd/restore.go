package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/age"
	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/serve"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/restore"
	"github.com/holdfast-dev/holdfast/services/restore/worker"
)

func (d *daemon) restoreService(_ context.Context, log *zap.Logger) (serve.Service, error) {
	c, b := d.c, d.b
	commands, err := b.Commands()
	if err != nil {
		return serve.Service{}, err
	}
	name, err := workerName()
	if err != nil {
		return serve.Service{}, err
	}
	wc := worker.Config{
		Pool: c.Pool, Name: name, Dir: filepath.Join(c.DataDir, "restores"), KeepOld: c.Restore.KeepOld, MinFree: int64(c.MinFree), StallTimeout: c.Restore.StallTimeout, Patience: c.Restore.Patience, Send: commands.Send, Report: b.Report, Waiting: b.Waiting, Logger: log,
		KeepPasswords: c.Restore.RolePasswords == config.ServerPasswords, PrivilegedModes: c.Restore.PrivilegedModes,
		Alive: func(ctx context.Context, pool string) bool { return alive(ctx, b, restore.Service, pool) },
		Fetch: func(ctx context.Context, pool string, q backup.ArchiveRead) ([]byte, error) {
			return readArchive(ctx, b, pool, q)
		},
	}
	if wc.Identities, err = identities(c); err != nil {
		return serve.Service{}, err
	}
	for _, p := range c.Projects {
		wc.Projects = append(wc.Projects, worker.Project{ID: p.ID, Resolve: resolverOf(p, c.Backup.LockTimeout), Hooks: hooksOf(p)})
	}
	w := worker.New(wc, b.Log())
	q, err := b.NewQueries("holdfast-restore-" + c.Pool)
	if err != nil {
		return serve.Service{}, err
	}
	r, err := b.NewRouter(w.Reject)
	if err != nil {
		return serve.Service{}, err
	}
	r.AckWait = c.Backup.AckWait
	r.EnqueueJobs(bus.JobSource{Name: "restore-" + c.Pool, Kind: events.KindRestore, Event: "requested", Pool: c.Pool, Queue: restore.Queue, Route: w.Queue})
	r.HandleJobs(bus.JobQueue{Name: restore.Queue, Pool: c.Pool, Slots: c.Restore.Slots, AckWait: c.Backup.AckWait}, w)
	r.HandleEvents(bus.EventSubscription{Name: "restore-drop-" + c.Pool, Kind: events.KindRestore, Event: "completed", Slots: 1, AckWait: c.Backup.AckWait}, events.HandlerFunc(w.Drop))
	err = errors.Join(
		bus.Answer(q, restore.AliveSubject(c.Pool), lives),
		bus.HandleCommand(r, restore.Service, c.Pool, restore.VerbCreate, w.Create),
		bus.HandleCommand(r, restore.Service, c.Pool, restore.VerbUndo, w.Undo),
		bus.HandleCommand(r, restore.Service, c.Pool, restore.VerbCancel, w.Cancel),
	)
	return serve.Service{Name: config.Restorer, Run: func(ctx context.Context) error {
		err := serve.All(ctx, grace, serve.Service{Name: "router", Run: r.Run}, serve.Service{Name: "resume", Run: func(ctx context.Context) error {
			w.Resume(ctx)
			<-ctx.Done()
			return nil
		}})
		return errors.Join(err, q.Close())
	}}, err
}

// hooksOf returns the commands around a restore. They run in the project's folder.
func hooksOf(p config.Project) worker.Hooks {
	h := worker.Hooks{Before: p.Restore.Before, After: p.Restore.After, Timeout: p.Restore.Timeout, Dir: p.Supabase}
	if h.Dir == "" {
		h.Dir = p.Config.Root
	}
	return h
}

// identities reads the keys that open encrypted archives.
func identities(c config.Config) ([]age.Identity, error) {
	if c.Encryption.IdentityFile == "" {
		return nil, nil
	}
	f, err := os.Open(c.Encryption.IdentityFile)
	if err != nil { // without the name, which may be a key by mistake
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err
		}
		return nil, fmt.Errorf("encryption.identity_file must be the path of a file that this user can read: %w", err)
	}
	defer f.Close() //nolint:errcheck // opened for reading
	ids, err := age.ParseIdentities(f)
	if err != nil {
		return nil, fmt.Errorf("encryption.identity_file: %w", err)
	}
	return ids, nil
}

// workerName names this process in events.
func workerName() (string, error) {
	host, err := os.Hostname()
	return fmt.Sprintf("%s-%d", host, os.Getpid()), err
}
