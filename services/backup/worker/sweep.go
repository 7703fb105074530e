package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/logging"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// Orphan is something at a destination that no backup of the log is.
type Orphan struct {
	Destination string
	Key         string
	Size        int64 // stored bytes; 0 for uploads
	Since       time.Time
	Upload      bool   // unfinished, so that nobody sees it
	Why         string // it is one, and what was or can be done
	Removed     bool
}

// minAge is how long an object must have been there to be one: until then its
// attempt may not have said how it ended.
const minAge = 24 * time.Hour

// Sweep looks through the destinations for objects and unfinished uploads that the
// log does not know or has superseded. With remove it removes those of them that the
// log has recorded as stored by an attempt, and aborts uploads of attempts that have
// ended. Never touched are keys that Holdfast could not have made, objects of other
// installations, and everything that the log does not know: it may have lost it. A destination that cannot be read does not keep the others from being
// looked at.
func (w *Worker) Sweep(ctx context.Context, feed events.Feed, remove bool) ([]Orphan, error) {
	var all []Orphan
	var errs []error
	for _, name := range w.destinations() {
		s := newSweep(w, name, remove)
		found, err := s.run(ctx, feed)
		all = append(all, found...)
		if err != nil {
			errs = append(errs, fmt.Errorf("destination %s: %w", name, err))
		}
	}
	return all, errors.Join(errs...)
}

// SweepDaily sweeps until ctx ends: soon after the start, and then once a day.
func (w *Worker) SweepDaily(ctx context.Context, feed events.Feed) error {
	for wait := time.Minute; ; wait = 24 * time.Hour {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		found, err := w.Sweep(ctx, feed, true)
		if err != nil && ctx.Err() == nil {
			w.cfg.Logger.Error("sweep", zap.Error(err))
		}
		for _, o := range found {
			w.cfg.Logger.Warn("orphan", logging.Destination(o.Destination), zap.String("key", o.Key), logging.Bytes(o.Size), zap.String("why", o.Why), zap.Bool("removed", o.Removed))
		}
	}
}

// sweep looks through one destination.
type sweep struct {
	w      *Worker
	store  destination.Store
	name   string
	remove bool

	objects  []destination.Info
	uploads  []destination.Upload
	ids      map[string]seen // backups by project and short id; zero until found in the log
	archives map[string]bool // keys that are there
	sidecars map[string]bool // keys of archives beside which one is
}

func newSweep(w *Worker, name string, remove bool) *sweep {
	return &sweep{w: w, store: w.cfg.Destinations[name], name: name, remove: remove, ids: map[string]seen{}, archives: map[string]bool{}, sidecars: map[string]bool{}}
}

// adoptable reports whether the key is that of an archive which is there with its
// sidecar.
func (s *sweep) adoptable(archive string) (backup.Object, bool) {
	o, ok := backup.ParseKey(archive)
	return o, ok && s.archives[archive] && s.sidecars[archive]
}

// seen is a backup that the log knows, and its newest event when the sweep began.
type seen struct {
	id       string
	revision events.Revision
}

func (s *sweep) run(ctx context.Context, feed events.Feed) (found []Orphan, err error) {
	if err := s.list(ctx, minAge); err != nil {
		return nil, err
	}
	if len(s.ids) == 0 {
		return nil, nil
	}
	if err := s.identify(ctx, feed); err != nil { // after the list: what it shows is in the log by now
		return nil, err
	}
	for _, info := range s.objects {
		o, err := s.object(ctx, info)
		if errors.Is(err, events.ErrBroken) {
			o.Why, err = unreadable, nil
		}
		if err != nil {
			return found, err
		}
		if o.Why != "" {
			found = append(found, o)
		}
	}
	for _, u := range s.uploads {
		o, err := s.upload(ctx, u)
		if errors.Is(err, events.ErrBroken) {
			o.Why, err = unreadable, nil
		}
		if err != nil {
			return found, err
		}
		if o.Why != "" {
			found = append(found, o)
		}
	}
	return found, nil
}

// unreadable is why an object stays of whose backup nothing can be said.
const unreadable = "the log has an event about its backup that cannot be read, so it stays"

// list notes what has a key that Holdfast makes. What is younger than age is none to
// decide on.
func (s *sweep) list(ctx context.Context, age time.Duration) error {
	for info, err := range s.store.List(ctx, "") {
		if err != nil {
			return err
		}
		o, ours := backup.ParseKey(info.Key)
		if !ours {
			continue
		}
		if s.archives[o.Archive] = s.archives[o.Archive] || !o.Sidecar; o.Sidecar {
			s.sidecars[o.Archive] = true
		}
		if time.Since(info.ModTime) >= age {
			s.objects = append(s.objects, info)
			s.ids[o.Project+"/"+o.Short] = seen{}
		}
	}
	u, ok := s.store.(destination.Uploader)
	if !ok {
		return nil
	}
	for upload, err := range u.Unfinished(ctx, "") {
		if err != nil {
			return err
		}
		if o, ours := backup.ParseKey(upload.Key); ours {
			s.uploads = append(s.uploads, upload)
			s.ids[o.Project+"/"+o.Short] = seen{}
		}
	}
	return nil
}

// errEnd stops the reading of a log.
var errEnd = errors.New("end of the log")

// identify finds the ids of the backups whose short ids are in keys.
func (s *sweep) identify(ctx context.Context, feed events.Feed) error {
	return wholeLog(ctx, feed, func(env events.Envelope) {
		if env.Aggregate.Kind != events.KindBackup || !backup.ValidID(env.Aggregate.ID) {
			return
		}
		short := env.Aggregate.Project + "/" + backup.Short(env.Aggregate.ID)
		if _, wanted := s.ids[short]; wanted {
			s.ids[short] = seen{env.Aggregate.ID, env.Revision}
		}
	})
}

// wholeLog gives note every event that the log has now. What the log has lost is left
// out.
func wholeLog(ctx context.Context, feed events.Feed, note func(events.Envelope)) error {
	end, err := feed.State(ctx)
	if err != nil || end.Last == 0 {
		return err
	}
	take := func(batch []events.Envelope) error {
		for _, env := range batch {
			note(env)
		}
		if batch[len(batch)-1].Revision >= end.Last {
			return errEnd
		}
		return nil
	}
	for after := events.Revision(0); ; {
		err := feed.Follow(ctx, after, take)
		lost, ok := errors.AsType[*events.DamageError](err)
		if errors.Is(err, errEnd) || ok && lost.Last >= end.Last {
			return nil
		}
		if !ok {
			return err
		}
		after = lost.Last
	}
}

// state returns what the log says now of the backup of a key.
func (s *sweep) state(ctx context.Context, o backup.Object) (state backup.State, err error) {
	known := s.ids[o.Project+"/"+o.Short]
	if known.id == "" {
		return state, nil
	}
	a := events.BackupAggregate(o.Project, known.id)
	return read(ctx, events.AtLeast(s.w.log, a, known.revision), a)
}

// superseded says why the log has no use for an object or an upload any more, or
// nothing.
func superseded(s backup.State, o backup.Object) string {
	switch {
	case s.Deleted:
		return "its backup was deleted"
	case s.Completed != nil && s.Completed.Key != o.Archive:
		return "another attempt of its backup completed"
	case s.Failed != nil:
		return "its backup failed"
	case s.Completed == nil && o.Attempt < s.Attempt:
		return "a later attempt of its backup runs"
	}
	return ""
}

// object decides on an object. Without a Why it is none.
func (s *sweep) object(ctx context.Context, info destination.Info) (Orphan, error) {
	o, _ := backup.ParseKey(info.Key)
	out := Orphan{Destination: s.name, Key: info.Key, Size: info.Size, Since: info.ModTime}
	state, err := s.state(ctx, o)
	if err != nil {
		return out, err
	}
	switch {
	case state.Exists():
		if out.Why = superseded(state, o); out.Why == "" {
			return out, nil
		}
	case s.archives[o.Archive] && s.sidecars[o.Archive]:
		out.Why = "the log does not know it; `holdfastd adopt` records it"
		return out, nil
	default:
		out.Why = "the log does not know it, so it stays"
		return out, nil
	}
	mark, err := s.mark(ctx, info)
	switch {
	case err != nil:
		return out, err
	case !state.Stored(o, s.w.cfg.Mark, mark):
		out.Why += "; the log has not recorded that it was stored, so it stays"
		return out, nil
	case !s.remove:
		return out, nil
	}
	if err := s.store.Delete(ctx, info.Key); err != nil {
		out.Why += "; it could not be removed: " + err.Error()
		return out, ctx.Err()
	}
	out.Removed = true
	return out, nil
}

// mark returns who has stored an object.
func (s *sweep) mark(ctx context.Context, info destination.Info) (string, error) {
	if info.Mark != "" {
		return info.Mark, nil
	}
	st, err := s.store.Stat(ctx, info.Key)
	if errors.Is(err, destination.ErrNotExist) {
		return "", nil // gone meanwhile
	}
	return st.Mark, err
}

// upload decides on an unfinished upload. Of one that the log does not know nobody
// can say whose it is.
func (s *sweep) upload(ctx context.Context, u destination.Upload) (Orphan, error) {
	o, _ := backup.ParseKey(u.Key)
	out := Orphan{Destination: s.name, Key: u.Key, Since: u.Started, Upload: true}
	state, err := s.state(ctx, o)
	switch {
	case err != nil:
		return out, err
	case !state.Exists():
		if time.Since(u.Started) >= minAge {
			out.Why = "the log does not know it, so it stays"
		}
		return out, nil
	case state.Completed != nil:
		out.Why = "its backup completed"
	default:
		out.Why = superseded(state, o)
	}
	if out.Why == "" || !s.remove {
		return out, nil
	}
	uploader, _ := s.store.(destination.Uploader)
	if err := uploader.Abort(ctx, u); err != nil {
		out.Why += "; it could not be aborted: " + err.Error()
		return out, ctx.Err()
	}
	out.Removed = true
	return out, nil
}

// Removed counts the orphans that were removed.
func Removed(found []Orphan) (n int) {
	return len(slices.DeleteFunc(slices.Clone(found), func(o Orphan) bool { return !o.Removed }))
}
