// Package worker runs restores: it decides on commands, reads archives, builds
// projects beside what is there, and swaps. A worker serves the projects of its
// configuration under the name of its pool.
//
// What a worker promises survives kill -9: until a restore is ready nothing that
// is in use was touched, and the next attempt begins anew; from then on the next
// attempt finishes what was begun, since every step can be seen for what it is.
package worker

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"filippo.io/age"
	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/internal/logging"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// Config says what a worker works on.
type Config struct {
	Pool       string
	Name       string // of this worker, for people
	Projects   []Project
	Identities []age.Identity // that read encrypted archives
	Dir        string         // for what must lie in files, and for lists of warnings; made
	KeepOld    time.Duration  // how long what was replaced is kept
	MinFree    int64          // bytes that stay free on the disks of this machine

	// KeepPasswords says that the roles of the services keep the password that they have
	// on the server, and that restored files get it; else the roles get that of the backup.
	KeepPasswords bool

	// PrivilegedModes lets files come back with setuid and setgid bits.
	PrivilegedModes bool

	StallTimeout time.Duration // a restore in which nothing moves for so long fails, as long as nothing in use was touched
	// Patience is how long a worker of an archive, its destination or the log may be out
	// of reach before an attempt fails.
	Patience time.Duration
	Alive    func(ctx context.Context, pool string) bool // reports whether a pool has a worker that restores
	// Waiting decodes a command about a restore into cmd, if it waits in the queue, and
	// returns when it was sent; the zero time means that there is none. It may be nil.
	Waiting func(ctx context.Context, service, verb, id string, cmd any) (sent time.Time, err error)
	// Fetch reads a range of an archive that workers of a pool can reach.
	Fetch func(ctx context.Context, pool string, q backup.ArchiveRead) ([]byte, error)
	// Send sends a command: for the backup of what is replaced.
	Send   func(ctx context.Context, c events.Command, cause events.Cause) error
	Report func(events.Aggregate, events.Progress)
	Logger *zap.Logger
}

// Project is a project that the worker can reach.
type Project struct {
	ID      string
	Hooks   Hooks
	Resolve project.Resolver
}

// Worker runs restores. Its methods may be called side by side.
type Worker struct {
	cfg      Config
	log      events.Log
	projects map[string]Project
	kept     kept

	mu     sync.Mutex
	claims map[string]chan struct{} // restores that a goroutine works on; closed when it ends
}

// New returns a worker that records in log what it does.
func New(cfg Config, log events.Log) *Worker {
	w := &Worker{cfg: cfg, log: log, projects: map[string]Project{}, claims: map[string]chan struct{}{}}
	for _, p := range cfg.Projects {
		w.projects[p.ID] = p
	}
	return w
}

// busyWait is how long a restore waits before it looks again whether the backups
// of the project have ended.
const busyWait = time.Second

// Queue returns the queue in which a requested restore waits for a worker of this pool,
// or "" if it does not.
func (w *Worker) Queue(_ context.Context, env events.Envelope) (string, error) {
	if req, ok := env.Event.(events.RestoreRequested); !ok || req.Pool != w.cfg.Pool {
		return "", nil // another pool's
	}
	return restore.Queue, nil // also one that has ended: something may be left of it
}

// Handle implements [events.Handler] for requested restores: it does the next
// attempt.
func (w *Worker) Handle(ctx context.Context, env events.Envelope) error {
	req, ok := env.Event.(events.RestoreRequested)
	if !ok || req.Pool != w.cfg.Pool {
		return nil // another pool's
	}
	a, cause := env.Aggregate, w.cause(env)
	return w.work(ctx, events.AtLeast(w.log, a, env.Revision), a, cause)
}

// work does the next attempt of a restore, or what is left to do of one that has ended.
func (w *Worker) work(ctx context.Context, log events.Log, a events.Aggregate, cause events.Cause) error {
	done, err := w.claim(ctx, a.ID)
	if err != nil {
		return err
	}
	defer done()
	if err := w.cancelFirst(ctx, a.ID, cause); err != nil {
		return err
	}
	state, err := read(ctx, log, a)
	if err != nil {
		return err
	}
	if state.Request.DryRun {
		return w.next(ctx, log, a, cause)
	}
	var held events.Revision
	if !state.Terminal() || w.abandoned(state, a.ID) {
		if held, err = w.alone(ctx, a, cause); err != nil {
			return err
		}
	}
	end := w.next
	if state.Cancel && restore.Cancellable(state) == nil {
		end = w.stopDead
	}
	if err := end(ctx, log, a, cause); err != nil {
		return err // the slot belongs to whoever goes on
	}
	return w.release(ctx, a, cause, held)
}

func (w *Worker) cause(env events.Envelope) events.Cause {
	return events.Cause{CorrelationID: env.CorrelationID, CausationID: env.ID, Actor: "worker:" + w.cfg.Name}
}

// next does the next attempt, if there is one to do.
func (w *Worker) next(ctx context.Context, log events.Log, a events.Aggregate, cause events.Cause) error {
	var state restore.State
	env, err := events.Update(ctx, log, a, cause, func(s restore.State) (events.Event, error) {
		state = s
		return restore.Start(s, w.cfg.Name)
	})
	if errors.Is(err, events.ErrNoChange) {
		return w.tidy(ctx, a, state, cause)
	}
	if err != nil {
		return err
	}
	state = state.Apply(env)
	at := w.attempt(a, state, cause)
	if state.Failed != nil {
		at.l.Error("restore failed", zap.String("reason", string(state.Failed.Reason)))
		return w.tidy(ctx, a, state, cause)
	}
	return at.run(ctx)
}

// attempt returns the newest attempt of a restore in a state that was read.
func (w *Worker) attempt(a events.Aggregate, s restore.State, cause events.Cause) *attempt {
	l := w.cfg.Logger.With(logging.Restore(a.ID), logging.Project(a.Project), logging.Backup(s.Request.Backup), logging.Correlation(cause.CorrelationID), logging.Attempt(s.Attempt))
	return &attempt{w: w, log: events.AtLeast(w.log, a, s.Revision), a: a, state: s, cause: cause, l: l, project: w.projects[a.Project]}
}

// read returns what the log says of a restore.
func read(ctx context.Context, log events.Log, a events.Aggregate) (s restore.State, err error) {
	for env, err := range log.Read(ctx, a, 0) {
		if err != nil {
			return s, err
		}
		s = s.Apply(env)
	}
	return s, nil
}

// holder is how a restore stands in the slot of its project.
func holder(a events.Aggregate) events.Holder {
	return events.Holder{Kind: events.KindRestore, ID: a.ID, Exclusive: true}
}

// alone takes the slot and returns nil once nobody else is there, with a revision at
// which the restore holds it.
func (w *Worker) alone(ctx context.Context, a events.Aggregate, cause events.Cause) (events.Revision, error) {
	held, err := w.slot(ctx, w.log, a, cause, backup.Acquire)
	if fault.CodeOf(err) == fault.Conflict {
		busy := errors.New(fault.MessageOf(err)) // no conflict of a request: it waits for its turn
		return 0, events.RetryAfter(errors.Join(busy, backup.Evict(ctx, w.log, a.Project, cause)), busyWait)
	}
	if err != nil {
		return 0, err
	}
	s, err := holders(ctx, events.AtLeast(w.log, events.SlotAggregate(a.Project), held), a.Project)
	if err == nil && !s.Alone(holder(a)) {
		err := errors.New("backups of the project are running")
		return 0, events.RetryAfter(errors.Join(err, backup.Evict(ctx, w.log, a.Project, cause)), busyWait)
	}
	return held, err
}

func holders(ctx context.Context, log events.Log, id string) (backup.Slot, error) {
	env, err := log.Last(ctx, events.SlotAggregate(id))
	if errors.Is(err, events.ErrNoEvent) {
		return backup.Slot{}, nil
	}
	return backup.Slot{}.Apply(env), err
}

// release gives back the slot that the restore held at a revision.
func (w *Worker) release(ctx context.Context, a events.Aggregate, cause events.Cause, held events.Revision) error {
	_, err := w.slot(ctx, events.AtLeast(w.log, events.SlotAggregate(a.Project), held), a, cause, backup.Release)
	return err
}

func (w *Worker) slot(ctx context.Context, log events.Log, a events.Aggregate, cause events.Cause, decide func(backup.Slot, events.Holder) (events.Event, error)) (events.Revision, error) {
	var seen events.Revision
	env, err := events.UpdateLast(ctx, log, events.SlotAggregate(a.Project), cause, func(s backup.Slot) (events.Event, error) {
		seen = s.Revision
		return decide(s, holder(a))
	})
	if errors.Is(err, events.ErrNoChange) {
		return seen, nil
	}
	return env.Revision, err
}

func (w *Worker) scratch(id string) string { return filepath.Join(w.cfg.Dir, id) }

// configDir is where the configuration of the backup lies while its passwords are looked at.
func (w *Worker) configDir(id string) string { return filepath.Join(w.cfg.Dir, id+".config", "files") }

// WarningsFile returns where the warnings of a restore lie, as lines of JSON.
func (w *Worker) WarningsFile(id string) string { return filepath.Join(w.cfg.Dir, id+".jsonl") }
