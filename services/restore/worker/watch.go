package worker

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/events"
)

// pulse shows what an attempt is at.
type pulse struct{ name atomic.Pointer[string] }

func (p *pulse) phase(name string) { p.name.Store(&name) }

const (
	tick       = time.Second     // progress is published so often
	fenceCheck = 5 * time.Second // so soon a fenced attempt stops
)

// watch publishes progress until ctx ends, which it brings about when another
// attempt has taken over.
func (at *attempt) watch(ctx context.Context, end context.CancelCauseFunc) {
	attempt := at.state.Attempt
	t := time.NewTicker(tick)
	defer t.Stop()
	checked := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if n := at.pulse.name.Load(); n != nil && at.w.cfg.Report != nil {
			at.w.cfg.Report(at.a, events.Progress{Phase: *n})
		}
		if time.Since(checked) > fenceCheck {
			checked = time.Now()
			s, err := at.w.state(ctx, at.a)
			if err == nil {
				err = s.Mine(attempt)
			}
			if errors.Is(err, events.ErrFenced) {
				end(events.ErrFenced)
				return
			}
		}
	}
}
