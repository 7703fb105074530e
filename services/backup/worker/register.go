package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/logging"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// How often a worker looks at a project without being asked to: one with a problem is
// looked at often, so that its problem is shown no longer than it lasts.
const (
	registerEvery = 5 * time.Minute
	problemEvery  = 10 * time.Second
)

// KeepRegistered registers again from time to time, until ctx ends: a disk may be
// mounted, or a folder mended, long after the start.
func (w *Worker) KeepRegistered(ctx context.Context) error {
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(problemEvery):
		}
		projects := w.withProblems()
		if time.Since(last) >= registerEvery {
			last, projects = time.Now(), w.cfg.Projects
		}
		found := w.look(ctx, projects)
		for _, p := range projects {
			if err := w.register(ctx, p, found[p.ID]); err != nil && ctx.Err() == nil {
				w.cfg.Logger.Warn("a project cannot be registered", logging.Project(p.ID), zap.Error(err))
			}
		}
	}
}

// withProblems returns the projects that had a problem when they were last registered, and
// those with which they share something.
func (w *Worker) withProblems() (out []Project) {
	wanted := map[string]bool{}
	w.mu.Lock()
	for _, p := range w.cfg.Projects {
		wanted[p.ID] = wanted[p.ID] || w.hasProblem(p.ID)
		for _, o := range w.overlaps[p.ID] {
			wanted[o.Other] = true
		}
	}
	w.mu.Unlock()
	for _, p := range w.cfg.Projects {
		if wanted[p.ID] {
			out = append(out, p)
		}
	}
	return out
}

// hasProblem reports whether a project had a problem when it was last registered, or could
// not be registered.
func (w *Worker) hasProblem(id string) bool {
	_, has := w.problems.Load(id)
	return has
}

// Register records what the worker can back up, where that has changed. A project
// that cannot be backed up is registered with its problem.
func (w *Worker) Register(ctx context.Context) error {
	found := w.look(ctx, w.cfg.Projects)
	var errs []error // of one project, which must not keep the others from being known
	for _, p := range w.cfg.Projects {
		if err := w.register(ctx, p, found[p.ID]); err != nil {
			errs = append(errs, fmt.Errorf("project %s: %w", p.ID, err))
		}
	}
	return errors.Join(errs...)
}

// look finds the parts of some projects, and notes what these share with each other.
func (w *Worker) look(ctx context.Context, projects []Project) map[string]project.Project {
	found := make(map[string]project.Project, len(projects))
	for _, p := range projects {
		found[p.ID] = p.Resolve(ctx)
	}
	overlaps := project.Overlaps(found)
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range found {
		delete(w.overlaps, id)
	}
	for _, o := range overlaps {
		w.overlaps[o.Project] = append(w.overlaps[o.Project], o)
	}
	return found
}

// problemsOf returns what is wrong with a project.
func (w *Worker) problemsOf(id string, found project.Project) []string {
	out := found.Problems()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.overlaps[id] {
		out = append(out, o.Sentence)
	}
	return out
}

func (w *Worker) register(ctx context.Context, p Project, found project.Project) error {
	e := events.ProjectRegistered{
		Name: p.Name, Pool: w.cfg.Pool, Parts: partNames(found), Destinations: w.destinations(), DefaultDestination: w.cfg.DefaultDestination,
		CanEncrypt: len(w.cfg.Recipients) > 0, EncryptDefault: w.cfg.EncryptDefault, Problem: strings.Join(w.problemsOf(p.ID, found), " "),
	}
	w.problems.Store(p.ID, nil) // until the log says that there is none
	_, err := events.UpdateLast(ctx, w.log, events.ProjectAggregate(p.ID), events.Cause{Actor: "worker:" + w.cfg.Name}, func(s backup.Registration) (events.Event, error) {
		return backup.Register(s, e)
	})
	if e.Problem == "" && (err == nil || errors.Is(err, events.ErrNoChange)) {
		w.problems.Delete(p.ID)
	}
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
