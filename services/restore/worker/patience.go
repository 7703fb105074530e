package worker

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// patienceWait is the pause before something that was out of reach is tried again.
const patienceWait = time.Second

// patiently calls f again as long as what it needs is out of reach, but not longer than
// the worker's patience.
func (at *attempt) patiently(ctx context.Context, what string, f func() error) error {
	for begin, said := time.Now(), false; ; said = true {
		err := f()
		away := errors.Is(err, events.ErrUnavailable) || fault.CodeOf(err) == fault.Unavailable
		if !away || ctx.Err() != nil || time.Since(begin) >= at.w.cfg.Patience {
			return err
		}
		if !said {
			at.l.Warn("out of reach; the restore waits", zap.String("for", what), zap.Duration("patience", at.w.cfg.Patience), zap.Error(err))
		}
		wait(ctx, patienceWait)
	}
}

// update is [events.Update] about the restore, patiently.
func (at *attempt) update(ctx context.Context, decide func(restore.State) (events.Event, error)) (env events.Envelope, err error) {
	err = at.patiently(ctx, "the event log", func() error {
		env, err = events.Update(ctx, at.log, at.a, at.cause, decide)
		return err
	})
	return env, err
}
