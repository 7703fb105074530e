package worker

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/guard"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// pulse shows whether an attempt still moves.
type pulse struct {
	name   atomic.Pointer[string]
	source atomic.Pointer[source]
	busy   atomic.Bool // something goes on that must not be cut off or has a time limit of its own
}

func (p *pulse) phase(name string) { p.name.Store(&name) }

// alone says that what follows is not watched.
func (p *pulse) alone(name string) {
	p.busy.Store(true)
	p.phase(name)
}

// progress returns how far the attempt is.
func (p *pulse) progress() (out events.Progress) {
	if n := p.name.Load(); n != nil {
		out.Phase = *n
	}
	if s := p.source.Load(); s != nil {
		out.Bytes = s.read.Load()
	}
	return out
}

// askAfter is how long nothing has moved before the server is asked what it does.
const askAfter = 5 * time.Second

// guarded restores, publishes progress and ends the attempt when nothing moves any
// more or another one has taken over. An index may be built for hours: as long as the
// server works on it, something moves.
func (at *attempt) guarded(ctx context.Context) error {
	last, moved, attempt := events.Progress{}, time.Now(), at.state.Attempt
	building := at.target(project.Database, archive.Part{}, nil).Building
	_, err := guard.Run(ctx, guard.Watch{
		Stall: at.w.cfg.StallTimeout,
		Look: func(ctx context.Context) (string, bool) {
			now := at.pulse.progress()
			moves := now != last || at.pulse.busy.Load()
			if !moves && time.Since(moved) > askAfter {
				moves = building(ctx)
			}
			if moves {
				last, moved = now, time.Now()
			}
			if at.w.cfg.Report != nil {
				at.w.cfg.Report(at.a, now)
			}
			return now.Phase, moves
		},
		Fenced: func(ctx context.Context) error {
			s, err := read(ctx, at.log, at.a)
			if err != nil || s.Done(restore.Ready) && s.Mine(attempt) == nil {
				return nil //nolint:nilerr // another look will tell
			}
			return s.Proceed(attempt)
		},
	}, func(ctx context.Context) (struct{}, error) { return struct{}{}, at.do(ctx) })
	return err
}
