package worker

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/logging"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// registerEvery is how often a worker looks at its projects without being asked to.
const registerEvery = 5 * time.Minute

// KeepRegistered registers again from time to time, until ctx ends: a disk may be
// mounted, or a folder mended, long after the start.
func (w *Worker) KeepRegistered(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(registerEvery):
		}
		if err := w.Register(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Logger.Warn("projects cannot be registered", zap.Error(err))
		}
	}
}

// Register records what the worker can back up, where that has changed. A project
// that cannot be backed up is registered with its problem.
func (w *Worker) Register(ctx context.Context) error {
	found := make(map[string]project.Project, len(w.cfg.Projects))
	for _, p := range w.cfg.Projects {
		found[p.ID] = p.Resolve(ctx)
	}
	shared := project.Shared(ctx, found)
	w.shared.Store(&shared)
	for _, p := range w.cfg.Projects {
		if err := w.register(ctx, p, found[p.ID]); err != nil {
			return err
		}
	}
	return nil
}

// problems returns what is wrong with a project. What it shares with others was found
// when all were looked at.
func (w *Worker) problems(id string, found project.Project) []string {
	out := found.Problems()
	if shared := w.shared.Load(); shared != nil {
		out = append(out, (*shared)[id]...)
	}
	return out
}

func (w *Worker) register(ctx context.Context, p Project, found project.Project) error {
	e := events.ProjectRegistered{
		Name: p.Name, Pool: w.cfg.Pool, Parts: partNames(found), Destinations: w.destinations(), DefaultDestination: w.cfg.DefaultDestination,
		CanEncrypt: len(w.cfg.Recipients) > 0, EncryptDefault: w.cfg.EncryptDefault, Problem: strings.Join(w.problems(p.ID, found), " "),
	}
	_, err := events.UpdateLast(ctx, w.log, events.ProjectAggregate(p.ID), events.Cause{Actor: "worker:" + w.cfg.Name}, func(s backup.Registration) (events.Event, error) {
		return backup.Register(s, e)
	})
	if errors.Is(err, events.ErrNoChange) {
		return nil
	}
	if err == nil && e.Problem != "" {
		w.cfg.Logger.Error("a project cannot be backed up or restored whole", logging.Project(p.ID), zap.String("problem", e.Problem))
	}
	return err
}

func partNames(p project.Project) []string {
	names := []string{}
	for _, part := range p.Parts {
		names = append(names, part.Name())
	}
	return names
}
