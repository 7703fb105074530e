package worker

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/logging"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// Damage takes note of what the log has lost.
type Damage struct {
	// Found is told of damage.
	Found func(ctx context.Context, d *events.DamageError) (accepted bool, err error)
	// Now returns what is known.
	Now func() *events.DamageError
	// Resolved is told that damage which was found is none any more.
	Resolved func(ctx context.Context, d *events.DamageError) error
}

const (
	unknownWait = 10 * time.Second // how long one destination may take
	beginWait   = 2 * time.Second  // before the next try
)

// Begin looks whether the destinations hold archives of the worker's projects that the
// log does not know, which means that it has lost them, and registers the projects when
// the log takes that. Then it sweeps daily, until ctx ends.
func (w *Worker) Begin(ctx context.Context, feed events.Feed, d Damage) error {
	registered := w.begun(ctx, feed) && w.tryRegister(ctx) // an empty log takes nothing before the destinations were looked at
	for {
		w.findUnknown(ctx, feed, d)
		registered = registered || w.tryRegister(ctx)
		if registered && d.Now() == nil {
			return w.SweepDaily(ctx, feed)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(beginWait):
		}
	}
}

// begun reports whether the log has events.
func (w *Worker) begun(ctx context.Context, feed events.Feed) bool {
	state, err := feed.State(ctx)
	return err == nil && state.Last > 0
}

func (w *Worker) tryRegister(ctx context.Context) bool {
	err := w.Register(ctx)
	if err != nil && ctx.Err() == nil && !errors.Is(err, events.ErrDamaged) {
		w.cfg.Logger.Warn("the projects could not be registered; trying again", zap.Error(err))
	}
	return err == nil
}

// findUnknown tells of the first destination with unknown archives, and when there is
// none any more.
func (w *Worker) findUnknown(ctx context.Context, feed events.Feed, d Damage) {
	before := d.Now()
	if before != nil && before.Destination == "" {
		return // something else has to be decided first
	}
	for _, name := range w.destinations() {
		found, err := w.holdsUnknown(ctx, feed, name)
		if err != nil {
			w.cfg.Logger.Warn("whether the log knows all archives of a destination could not be seen", logging.Destination(name), zap.Error(err))
			if before != nil && before.Destination == name {
				return
			}
			continue
		}
		if found {
			if _, err := d.Found(ctx, &events.DamageError{Destination: name}); err != nil {
				w.cfg.Logger.Warn("damage of the log could not be noted", zap.Error(err))
			}
			return
		}
	}
	if before != nil && w.cfg.Destinations[before.Destination] != nil {
		if err := d.Resolved(ctx, before); err != nil {
			w.cfg.Logger.Warn("that the log is whole could not be noted", zap.Error(err))
		}
	}
}

// holdsUnknown reports whether a destination holds an archive of one of the projects,
// with its sidecar, that the log does not know. One that no adoption would take, such as
// with a sidecar that somebody made up, says nothing about the log.
func (w *Worker) holdsUnknown(ctx context.Context, feed events.Feed, name string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, unknownWait)
	defer cancel()
	s := newSweep(w, name, false)
	if err := s.list(ctx, 0); err != nil {
		return false, err
	}
	if err := s.identify(ctx, feed); err != nil {
		return false, err
	}
	var unknown []backup.Object
	for archive := range s.archives {
		if o, ok := s.adoptable(archive); ok && s.ids[o.Project+"/"+o.Short].id == "" && w.projects[o.Project].ID != "" {
			unknown = append(unknown, o)
		}
	}
	if unknown == nil {
		return false, nil
	}
	owners, err := owners(ctx, feed)
	if err != nil {
		return false, err
	}
	for _, o := range unknown {
		side, err := readSidecar(ctx, s.store, o)
		switch {
		case errors.Is(err, errSidecar), errors.Is(err, destination.ErrNotExist):
		case err != nil:
			return false, err
		case owners[side.ID] == "":
			return true, nil
		}
	}
	return false, nil
}
