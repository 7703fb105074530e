package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"
	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/logging"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// attempt is one try to make a backup.
type attempt struct {
	w      *Worker
	log    events.Log // knows that the attempt has started
	a      events.Aggregate
	state  backup.State
	cause  events.Cause
	l      *zap.Logger
	pulse  pulse
	found  project.Project // as it is now
	stored []string        // keys of the objects that this attempt has stored
}

// run does the attempt and records how it ended. An error means that the request
// shall come again.
func (at *attempt) run(ctx context.Context) error {
	begin := time.Now()
	at.l.Info("backup started")
	done, err := at.guarded(ctx)
	took := logging.Duration(time.Since(begin))
	if err == nil {
		err = at.complete(ctx, done)
		switch {
		case err == nil:
			at.l.Info("backup completed", took, logging.Bytes(done.Size))
			// The backup is safe; what is left of earlier attempts only takes room.
			return at.w.removeAttempts(ctx, at.a, at.state, at.state.Attempt-1)
		case ctx.Err() == nil && !errors.Is(err, events.ErrFenced):
			at.l.Error("the event log may not know that the archive is stored; another attempt looks", took, zap.Error(err))
			return err // the archive stays, since the log may know it
		}
	}
	if errors.Is(err, errCancelled) {
		at.l.Info("backup cancelled", took)
		return at.stop(ctx)
	}
	if errors.Is(err, events.ErrFenced) {
		at.l.Warn("another attempt has taken over", took)
		return errors.Join(events.ErrFenced, at.discard(ctx))
	}
	if ctx.Err() != nil {
		at.l.Info("backup interrupted; the next attempt takes over", took)
		return ctx.Err()
	}
	at.l.Error("attempt failed", took, zap.Error(err))
	return at.fail(ctx, err)
}

// logWait is the pause before a log that was out of reach is tried again.
const logWait = time.Second

// complete records the good end, however long the log is out of reach: the archive
// is stored, and another attempt would only do the same work again.
func (at *attempt) complete(ctx context.Context, e events.BackupCompleted) error {
	for {
		_, err := events.Update(ctx, at.log, at.a, at.cause, func(s backup.State) (events.Event, error) {
			return backup.Complete(s, e)
		})
		if errors.Is(err, events.ErrNoChange) {
			return nil
		}
		if !errors.Is(err, events.ErrUnavailable) {
			return err
		}
		at.l.Warn("the archive is stored, but the event log does not take that; trying again", zap.Error(err))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(logWait):
		}
	}
}

// fail records the bad end and leaves no object behind. Unless it is final, the
// request comes again.
func (at *attempt) fail(ctx context.Context, cause error) error {
	if err := at.discard(ctx); err != nil {
		at.l.Warn("left behind at the destination", zap.Error(err))
	}
	e := diagnose(cause)
	e.Attempt = at.state.Attempt
	env, err := events.Update(ctx, at.log, at.a, at.cause, func(s backup.State) (events.Event, error) { return backup.Fail(s, e) })
	if err != nil {
		return err
	}
	if env.Event.(events.BackupFailed).Final {
		return nil
	}
	return events.RetryAfter(cause, retryWaits[min(e.Attempt, len(retryWaits))-1])
}

func (at *attempt) key() string { return keyOf(at.a, at.state, at.state.Attempt) }

// discard removes what this attempt has stored.
func (at *attempt) discard(ctx context.Context) error {
	store, ok := at.w.cfg.Destinations[at.state.Request.Destination]
	if !ok {
		return nil
	}
	for _, key := range at.stored {
		if err := store.Delete(ctx, key); err != nil {
			return err
		}
	}
	return at.w.removeStored(ctx, store, at.key(), at.state)
}

// make reads the project and stores the archive.
func (at *attempt) make(ctx context.Context) (done events.BackupCompleted, err error) {
	p, store, parts, err := at.find(ctx)
	if err != nil {
		return done, err
	}
	s, err := at.connect(ctx, parts)
	if err != nil {
		return done, err
	}
	defer func() { _ = s.Close() }() // it only read
	info, manifest, warnings, err := at.store(ctx, store, p, s, parts)
	if err != nil {
		return done, err
	}
	done = events.BackupCompleted{
		Parts:   partsIn(manifest),
		Attempt: at.state.Attempt, Pool: at.w.cfg.Pool, Key: info.Key, Path: info.Path, Size: info.Size, SHA256: info.SHA256, ManifestSHA256: manifest.SHA256,
		Encrypted: at.state.Request.Encrypt, Warnings: events.LimitWarnings(append(at.inTheWay(ctx, store), warnings...)),
	}
	return done, at.sidecar(ctx, store, p, done)
}

// find finds what is to be backed up, and where to.
func (at *attempt) find(ctx context.Context) (p Project, store destination.Store, parts []project.Part, err error) {
	p, ok := at.w.projects[at.a.Project]
	if !ok {
		return p, nil, nil, at.misfit("The project %s is not in the configuration of worker %s any more", at.a.Project, at.w.cfg.Name)
	}
	if store, ok = at.w.cfg.Destinations[at.state.Request.Destination]; !ok {
		return p, nil, nil, at.misfit("The destination %s is not in the configuration of worker %s any more", at.state.Request.Destination, at.w.cfg.Name)
	}
	store = destination.WithMark(store, backup.Mark(at.w.cfg.Mark, at.state.Tokens[at.state.Attempt-1]))
	if _, err := store.Stat(ctx, at.key()); err == nil {
		return p, nil, nil, &storeError{destination.ErrExist} // before hours of work
	}
	at.found = p.Resolve(ctx)
	if err := at.w.register(ctx, p, at.found); err != nil {
		return p, nil, nil, err
	}
	if parts = partsOf(at.found, at.state.Request.Type); len(parts) == 0 {
		return p, nil, nil, at.misfit("The project has no part %s any more", at.state.Request.Type)
	}
	if at.state.Request.Origin != backup.OriginSafety { // which takes what is left
		err = project.Available(parts)
	}
	return p, store, parts, err
}

// store writes the archive into the destination while it is made.
func (at *attempt) store(ctx context.Context, store destination.Store, p Project, s *project.Session, parts []project.Part) (destination.Info, archive.Manifest, []events.Warning, error) {
	estimate := destination.Estimate(project.Estimate(ctx, s, parts))
	r, pw := io.Pipe()
	type stored struct {
		info destination.Info
		err  error
	}
	put := make(chan stored, 1)
	go func() {
		info, err := store.Put(ctx, at.key(), r, estimate)
		_ = r.CloseWithError(errors.Join(errStore, err)) // lets a dump end that Put no longer reads
		put <- stored{info, err}
	}()
	manifest, warnings, err := at.write(ctx, pw, p, s, parts)
	_ = pw.CloseWithError(err) // nil is the end of the object
	at.pulse.phase("upload")
	at.pulse.busy.Store(true) // the destination may take its time to confirm
	got := <-put
	at.pulse.busy.Store(false)
	if got.err == nil {
		at.stored = append(at.stored, got.info.Key)
	} else if err == nil || errors.Is(err, errStore) {
		err = &storeError{got.err}
	}
	return got.info, manifest, warnings, err
}

// errStore marks that the archive could not be written because the destination
// stopped reading.
var errStore = errors.New("the destination stopped")

// write writes the archive, encrypted if that was asked for, into out.
func (at *attempt) write(ctx context.Context, out io.Writer, p Project, s *project.Session, parts []project.Part) (archive.Manifest, []events.Warning, error) {
	var lock io.WriteCloser
	if at.state.Request.Encrypt {
		var err error
		if lock, err = age.Encrypt(out, at.w.cfg.Recipients...); err != nil {
			return archive.Manifest{}, nil, err
		}
		out = lock
	}
	w, err := archive.NewWriter(out, archive.Header{
		ID: at.a.ID, Project: at.a.Project, Name: p.Name, Type: at.state.Request.Type, CreatedAt: at.state.Created, Attempt: at.state.Attempt,
	})
	if err != nil {
		return archive.Manifest{}, nil, err
	}
	at.pulse.writer.Store(w)
	warnings, err := at.dump(ctx, w, s, parts)
	if err != nil {
		w.Abort()
		return archive.Manifest{}, nil, err
	}
	m, err := w.Close()
	if err == nil && lock != nil {
		err = lock.Close()
	}
	return m, warnings, err
}

// connect opens the database, if the parts need it. The caller closes.
func (at *attempt) connect(ctx context.Context, parts []project.Part) (*project.Session, error) {
	server := at.found.Server
	if !needsDatabase(parts) {
		server = nil
	}
	at.pulse.phase("connect")
	s, err := project.Open(ctx, server)
	if err != nil {
		return nil, err
	}
	s.Wrecked = at.state.Request.Origin == backup.OriginSafety // or nobody would be restoring it
	at.pulse.session.Store(s)
	return s, nil
}

func (at *attempt) dump(ctx context.Context, w *archive.Writer, s *project.Session, parts []project.Part) (warnings []events.Warning, err error) {
	if needsDatabase(parts) {
		ws, err := at.found.CheckAbsent(ctx, s, w, at.state.Request.Type == backup.Full)
		if err != nil {
			return nil, err
		}
		warnings = asEvents(ws)
	}
	for _, part := range parts {
		at.pulse.phase(part.Name())
		if err := w.Begin(part.Name()); err != nil {
			return nil, err
		}
		ws, err := part.Dump(ctx, s, w)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part.Name(), err)
		}
		warnings = append(warnings, asEvents(ws)...)
	}
	return warnings, nil
}

func asEvents(ws []project.Warning) (out []events.Warning) {
	for _, x := range ws {
		out = append(out, events.Warning{Code: x.Code, Count: x.Count, Sentence: x.Sentence})
	}
	return out
}

// sidecar stores, beside the archive, what a catalog needs to know of it.
func (at *attempt) sidecar(ctx context.Context, store destination.Store, p Project, done events.BackupCompleted) error {
	b, err := json.MarshalIndent(backup.Sidecar{
		Format: backup.SidecarFormat, ID: at.a.ID, Project: at.a.Project, Name: p.Name, Type: at.state.Request.Type, CreatedAt: at.state.Created, BodyHash: at.state.Request.BodyHash, BackupCompleted: done,
	}, "", "  ")
	if err != nil {
		return err
	}
	key := backup.SidecarKey(done.Key)
	if _, err := store.Put(ctx, key, strings.NewReader(string(b)+"\n"), destination.Estimate(len(b))); err != nil {
		return &storeError{err}
	}
	at.stored = append(at.stored, key)
	return nil
}

// inTheWay warns of archives that the log does not know under the names of earlier
// attempts.
func (at *attempt) inTheWay(ctx context.Context, store destination.Store) []events.Warning {
	for n := 1; n < at.state.Attempt; n++ {
		key := keyOf(at.a, at.state, n)
		o, _ := backup.ParseKey(key)
		if info, err := store.Stat(ctx, key); err == nil && !at.state.Stored(o, at.w.cfg.Mark, info.Mark) {
			return []events.Warning{{Code: "unknown_archive", Count: 1, Sentence: "The destination holds an archive under the first name of this backup that the event log does not know, so this one has another name. " +
				"The log is older than the destination: run `holdfastd adopt` to record what it has lost."}}
		}
	}
	return nil
}

// partsOf returns the parts that a type of backup asks for.
func partsOf(p project.Project, typ string) []project.Part {
	if typ == backup.Full {
		return p.Parts
	}
	for _, part := range p.Parts {
		if part.Name() == typ {
			return []project.Part{part}
		}
	}
	return nil
}

// needsDatabase reports whether a part reads the database; the storage part asks
// it which files there are.
func needsDatabase(parts []project.Part) bool {
	for _, p := range parts {
		if p.Name() == project.Database || p.Name() == project.Storage {
			return true
		}
	}
	return false
}
