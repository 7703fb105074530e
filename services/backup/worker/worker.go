// Package worker runs backups: it decides on commands, reads projects, stores
// archives and lets others read what is stored. A worker serves the projects of
// its configuration under the name of its pool; several workers of a pool may run
// side by side.
//
// What a worker promises survives kill -9: the log says who works on what, the
// attempt fences off who was thought dead, and a stored object without a completed
// event is swept by the next attempt. Stopping a worker records nothing; another
// attempt takes over.
package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"filippo.io/age"
	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/internal/logging"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// Config says what a worker works on.
type Config struct {
	Pool               string
	Name               string // of this worker, for people
	Projects           []Project
	Destinations       map[string]destination.Store
	Mark               string // that the destinations put on objects of this installation
	DefaultDestination string
	Recipients         []age.Recipient // who can read encrypted archives
	Identities         []age.Identity  // that can read them here; without one only their checksum can be verified
	EncryptDefault     bool
	StallTimeout       time.Duration                               // an attempt in which nothing moves for so long fails
	Alive              func(ctx context.Context, pool string) bool // reports whether a pool has a worker
	Room               func() error                                // says why there is no room for another backup; nil: there always is
	Report             func(events.Aggregate, events.Progress)
	Logger             *zap.Logger

	// Waiting decodes a command about a backup into cmd, if it waits in the queue, and
	// returns when it was sent; the zero time means that there is none. It may be nil.
	Waiting func(ctx context.Context, service, verb, id string, cmd any) (sent time.Time, err error)
}

// Project is a project that the worker can reach.
type Project struct {
	ID      string
	Name    string
	Resolve project.Resolver
}

// Worker runs backups. Its methods may be called side by side.
type Worker struct {
	cfg      Config
	log      events.Log
	projects map[string]Project
	problems sync.Map // ids of the projects that are looked at again soon

	mu       sync.Mutex
	overlaps map[string][]project.Overlap // by the project that is registered with them
}

// New returns a worker that records in log what it does.
func New(cfg Config, log events.Log) *Worker {
	w := &Worker{cfg: cfg, log: log, projects: map[string]Project{}, overlaps: map[string][]project.Overlap{}}
	for _, p := range cfg.Projects {
		w.projects[p.ID] = p
	}
	return w
}

// busyWait is how long a backup waits before it looks again whether a restore
// has left the project.
const busyWait = 2 * time.Second

// retryWaits are the pauses before the second and the third attempt.
var retryWaits = []time.Duration{2 * time.Second, 10 * time.Second}

// Queue returns the queue in which a requested backup waits for a worker of this pool,
// or "" if it does not. A safety backup waits behind no other: its restore has a
// worker's slot, and the safety backup takes the restore's place in it.
func (w *Worker) Queue(ctx context.Context, env events.Envelope) (string, error) {
	req, ok := env.Event.(events.BackupRequested)
	if !ok || req.Pool != w.cfg.Pool {
		return "", nil // another pool's
	}
	state, err := read(ctx, events.AtLeast(w.log, env.Aggregate, env.Revision), env.Aggregate)
	switch {
	case errors.Is(err, events.ErrBroken): // who takes it from the queue says so
	case err != nil:
		return "", err
	case state.Terminal():
		return "", nil
	}
	if req.Under != "" {
		return backup.QueueSafety, nil
	}
	return backup.QueueBackups, nil
}

// Handle implements [events.Handler] for requested backups: it does the next
// attempt.
func (w *Worker) Handle(ctx context.Context, env events.Envelope) error {
	req, ok := env.Event.(events.BackupRequested)
	if !ok || req.Pool != w.cfg.Pool {
		return nil // another pool's
	}
	a, cause := env.Aggregate, events.Cause{CorrelationID: env.CorrelationID, CausationID: env.ID, Actor: "worker:" + w.cfg.Name}
	l := w.cfg.Logger.With(logging.Backup(a.ID), logging.Project(a.Project), logging.Correlation(cause.CorrelationID))
	log := events.AtLeast(w.log, a, env.Revision)
	if err := w.cancelFirst(ctx, a.ID, cause); err != nil {
		return err
	}
	state, err := read(ctx, log, a)
	if err != nil {
		return err
	}
	if state.Cancel && !state.Terminal() { // what a worker that has died has left is gone before the backup ends
		if err := w.removeAttempts(ctx, a, state, state.Attempt); err != nil {
			l.Warn("left behind at the destination", zap.Error(err))
		}
	}
	if req.Under != "" { // the slot is its restore's
		return w.next(ctx, log, a, cause, l)
	}
	if state.Terminal() { // an old request, or the worker died before all was done
		if err := w.release(ctx, a, cause, 0); err != nil {
			return err
		}
		return w.tidy(ctx, a, state)
	}
	held, err := w.acquire(ctx, a, cause)
	if err != nil {
		if fault.CodeOf(err) == fault.Conflict {
			return events.RetryAfter(errors.Join(err, backup.Evict(ctx, w.log, a.Project, cause)), busyWait)
		}
		return err
	}
	err = w.next(ctx, log, a, cause, l)
	if errors.Is(err, events.ErrFenced) || errors.Is(err, events.ErrUnavailable) || ctx.Err() != nil {
		return err // the slot belongs to whoever goes on
	}
	if rerr := w.release(ctx, a, cause, held); rerr != nil {
		return rerr
	}
	return err
}

// next does the next attempt, if there is one to do.
func (w *Worker) next(ctx context.Context, log events.Log, a events.Aggregate, cause events.Cause, l *zap.Logger) error {
	var state backup.State
	env, err := events.Update(ctx, log, a, cause, func(s backup.State) (events.Event, error) {
		state = s
		return backup.Start(s, w.cfg.Name, rand.Text())
	})
	if errors.Is(err, events.ErrNoChange) {
		return w.tidy(ctx, a, state)
	}
	if err != nil {
		return err
	}
	state = state.Apply(env)
	if state.Failed != nil {
		l.Error("backup failed", zap.String("reason", string(state.Failed.Reason)), logging.Attempt(state.Attempt))
		return w.tidy(ctx, a, state)
	}
	at := &attempt{w: w, log: events.AtLeast(w.log, a, env.Revision), a: a, state: state, cause: cause, l: l.With(logging.Attempt(state.Attempt), logging.Destination(state.Request.Destination))}
	return at.run(ctx)
}

// read returns what the log says of a backup.
func read(ctx context.Context, log events.Log, a events.Aggregate) (s backup.State, err error) {
	for env, err := range log.Read(ctx, a, 0) {
		if err != nil {
			return s, err
		}
		s = s.Apply(env)
	}
	return s, nil
}

// holder is how a backup stands in the slot of its project.
func holder(a events.Aggregate) events.Holder {
	return events.Holder{Kind: events.KindBackup, ID: a.ID}
}

// acquire takes the slot and returns a revision at which the backup holds it.
func (w *Worker) acquire(ctx context.Context, a events.Aggregate, cause events.Cause) (events.Revision, error) {
	return w.slot(ctx, w.log, a, cause, backup.Acquire)
}

// release gives back the slot that the backup held at a revision.
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
