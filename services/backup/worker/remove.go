package worker

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/logging"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// Who may delete: an object goes only when this log has recorded that it was stored,
// by the event that completed or adopted its backup or by the token of an attempt in
// the object's mark, or when the attempt that deletes has stored it itself. A log that
// was lost or is older than the destination does not know what others have stored
// under the same names.

// removeAttempts removes what the attempts up to upto have stored, as far as the log
// knows that they did.
func (w *Worker) removeAttempts(ctx context.Context, a events.Aggregate, s backup.State, upto int) error {
	store, ok := w.cfg.Destinations[s.Request.Destination]
	if !ok {
		return nil
	}
	for n := 1; n <= upto; n++ {
		if err := w.removeStored(ctx, store, keyOf(a, s, n), s); err != nil {
			return err
		}
	}
	return nil
}

// tidy removes what the attempts of a backup that has ended have left: all but that of the
// one that has completed.
func (w *Worker) tidy(ctx context.Context, a events.Aggregate, s backup.State) error {
	switch {
	case s.Failed != nil:
		return w.removeAttempts(ctx, a, s, s.Attempt)
	case s.Completed != nil:
		return w.removeAttempts(ctx, a, s, s.Completed.Attempt-1)
	}
	return nil
}

// keyOf returns where an attempt stores its archive.
func keyOf(a events.Aggregate, s backup.State, attempt int) string {
	return backup.ObjectKey(a.Project, s.Request.Type, a.ID, s.Created, attempt, s.Request.Encrypt)
}

// removeStored removes the objects of an archive that bear the token of their attempt,
// and aborts uploads of them.
func (w *Worker) removeStored(ctx context.Context, store destination.Store, key string, s backup.State) error {
	if err := abortUploads(ctx, store, key); err != nil {
		return err
	}
	for _, k := range []string{key, backup.SidecarKey(key)} {
		info, err := store.Stat(ctx, k)
		if errors.Is(err, destination.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if o, ok := backup.ParseKey(k); !ok || !s.Stored(o, w.cfg.Mark, info.Mark) {
			w.cfg.Logger.Warn("an object stays, because the log has not recorded that it was stored", logging.Destination(s.Request.Destination), zap.String("key", k))
			continue
		}
		if err := store.Delete(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// removeRecorded removes an archive that the log has recorded as stored, and what
// stands beside it. That goes last: without it nobody could adopt an archive that the
// destination does not let go of.
func removeRecorded(ctx context.Context, store destination.Store, key string) error {
	if err := abortUploads(ctx, store, key); err != nil {
		return err
	}
	if err := store.Delete(ctx, key); err != nil {
		return err
	}
	return store.Delete(ctx, backup.SidecarKey(key))
}

// abortUploads ends the unfinished uploads of an archive and of its sidecar. No object
// goes by that.
func abortUploads(ctx context.Context, store destination.Store, key string) error {
	u, ok := store.(destination.Uploader)
	if !ok {
		return nil
	}
	for left, err := range u.Unfinished(ctx, key) {
		if err == nil {
			err = u.Abort(ctx, left)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
