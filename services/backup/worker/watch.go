package worker

import (
	"context"
	"sync/atomic"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/guard"
	"github.com/holdfast-dev/holdfast/project"
)

// pulse shows whether an attempt still moves.
type pulse struct {
	writer  atomic.Pointer[archive.Writer]
	session atomic.Pointer[project.Session]
	name    atomic.Pointer[string]
	busy    atomic.Bool // something takes its time that shows no progress
}

func (p *pulse) phase(name string) { p.name.Store(&name) }

// progress returns how far the attempt is.
func (p *pulse) progress() events.Progress {
	var out events.Progress
	if n := p.name.Load(); n != nil {
		out.Phase = *n
	}
	if w := p.writer.Load(); w != nil {
		out.Bytes, out.Entries = w.Progress()
	}
	return out
}

// alive reports whether something goes on that shows no progress.
func (p *pulse) alive() bool {
	s := p.session.Load()
	return p.busy.Load() || s != nil && s.Counting()
}

// guarded makes the backup, publishes progress and ends the attempt when nothing
// moves any more or another one has taken over.
func (at *attempt) guarded(ctx context.Context) (events.BackupCompleted, error) {
	last := events.Progress{}
	return guard.Run(ctx, guard.Watch{
		Stall: at.w.cfg.StallTimeout,
		Look: func(context.Context) (string, bool) {
			now := at.pulse.progress()
			moved := now != last || at.pulse.alive()
			last = now
			if at.w.cfg.Report != nil {
				at.w.cfg.Report(at.a, now)
			}
			return now.Phase, moved
		},
		Fenced: at.fenced,
	}, at.make)
}

// fenced returns [events.ErrFenced] if the log shows another attempt or an end, and
// errCancelled if it shows that somebody wants one.
func (at *attempt) fenced(ctx context.Context) error {
	s, err := read(ctx, at.log, at.a)
	if err != nil {
		return nil //nolint:nilerr // another look will tell
	}
	if err := s.Mine(at.state.Attempt); err != nil || !s.Cancel {
		return err
	}
	return errCancelled
}
