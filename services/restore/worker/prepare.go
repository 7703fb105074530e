package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/internal/guard"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// readWarnings says again what the backup warned of.
func (at *attempt) readWarnings(plain io.ReaderAt, size int64) error {
	if at.source.manifest.Warnings == 0 {
		return nil
	}
	ws, err := archive.ReadWarnings(plain, size, at.source.manifest)
	if err != nil {
		return err
	}
	for _, w := range project.RestoredWarnings(ws, at.state.Request.Parts) {
		at.warned.add(w)
		if w.Sentence != "" {
			at.plan.Checks = append(at.plan.Checks, events.RestoreCheck{Name: w.Code, OK: true, Sentence: w.Sentence})
		}
	}
	return nil
}

// readDatabase reads the databases, when they are restored: into files, unless it
// is a dry run.
func (at *attempt) readDatabase() (err error) {
	p, ok := at.source.part(project.Database)
	if !ok || !slices.Contains(at.state.Request.Parts, project.Database) {
		return nil
	}
	if at.state.Request.DryRun {
		at.source.prints, err = project.Inspect(archive.NewPartReader(at.source.plain, p))
		return at.source.explain(err)
	}
	if err := os.RemoveAll(at.w.scratch(at.a.ID)); err != nil { // what an attempt that crashed has left takes room
		return err
	}
	if room := project.CheckRoom([]project.Need{project.SpoolNeed(p, at.w.cfg.Dir, at.w.cfg.MinFree)}); room[0].Problem != "" {
		return &refusedError{room[0].Problem}
	}
	at.source.prints, err = project.Spool(archive.NewPartReader(at.source.plain, p), at.w.scratch(at.a.ID))
	return at.source.explain(err)
}

// restoration returns how a part comes back.
func (at *attempt) restoration(name string) (project.Restoration, project.Target, error) {
	held, ok := at.source.part(name)
	i := slices.IndexFunc(at.found.Parts, func(p project.Part) bool { return p.Name() == name })
	if !ok || i < 0 {
		return nil, project.Target{}, misfit("The part %s is not in the backup or not in the project any more", name)
	}
	t := at.target(name, held, at.source.prints)
	return at.found.Parts[i].Restoration(t), t, nil
}

func (at *attempt) target(name string, source archive.Part, prints []byte) project.Target {
	return project.Target{
		ID: events.ShortID(at.a.ID), At: at.state.Created, Server: at.found.Server, Scratch: at.w.scratch(at.a.ID), Source: source, Prints: prints,
		Both: slices.Contains(at.state.Request.Parts, project.Database) && name != project.Database, Config: slices.Contains(at.state.Request.Parts, project.Config) && at.state.Request.BackupProject == at.a.Project,
		Foreign: at.state.Request.BackupProject != at.a.Project,
		Force:   at.state.Request.Force, Stopped: at.project.Hooks.Before != "", Replace: at.replace, PrivilegedModes: at.w.cfg.PrivilegedModes, MinFree: at.w.cfg.MinFree, Warn: at.warn,
	}
}

// check looks at everything that could stand in the way, all of it, so that the
// operator learns it at once.
func (at *attempt) check(ctx context.Context) error {
	var needs []project.Need
	for _, name := range at.state.Request.Parts {
		r, t, err := at.restoration(name)
		if err != nil {
			return err
		}
		at.plan.Bytes += t.Source.Bytes
		at.plan.Replaces = append(at.plan.Replaces, replaces[name])
		checks, err := r.Check(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, c := range checks {
			needs = append(needs, c.Needs...)
		}
		at.addChecks(name, checks)
	}
	at.addChecks("", project.CheckRoom(needs)) // several parts may need the same disk
	checks, err := at.planPasswords(ctx)
	if err != nil {
		return err
	}
	at.addChecks(project.Config, checks)
	at.plan.Checks = append(at.plan.Checks, at.checkServer(ctx)...)
	at.plan.Checks = append(at.plan.Checks, at.checkFolders(ctx)...)
	at.plan.Seconds = 2 + at.plan.Bytes/bytesPerSecond
	if !at.state.Request.DryRun {
		return nil // Build reads everything
	}
	c := events.RestoreCheck{Name: "archive", OK: true}
	err = at.source.verify(at.state.Request.Parts)
	if err == nil {
		err = at.wholeSum()
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if at.source.failure() != nil {
			return at.source.failure()
		}
		c.OK, c.Sentence = false, diagnose(err).Message
	}
	at.plan.Checks = append(at.plan.Checks, c)
	return nil
}

// addChecks adds what was looked at of a part to the plan.
func (at *attempt) addChecks(part string, checks []project.Check) {
	for _, c := range checks {
		if c.Name == "" {
			continue // it has only needs
		}
		x := events.RestoreCheck{Name: c.Name, OK: c.Problem == "", Sentence: c.Problem, Forced: c.Problem != "" && c.Judgment && at.state.Request.Force}
		if x.Forced {
			at.warned.add(archive.Warning{Part: part, Code: c.Name, Sentence: c.Problem})
		}
		if c.Note != "" {
			x.Sentence = strings.TrimSpace(c.Problem + " " + c.Note)
			at.warned.add(archive.Warning{Part: part, Code: c.Name, Sentence: c.Note})
		}
		at.plan.Checks = append(at.plan.Checks, x)
	}
}

// bytesPerSecond is what a plain machine restores, more or less.
const bytesPerSecond = 50 << 20

var replaces = map[string]string{
	project.Database: "The whole database, whatever was added since the backup included.", project.Storage: "All storage files.",
	project.Functions: "All edge functions.", project.Config: "Those configuration files that the backup holds.",
}

// refusedError says what stands in the way of a restore.
type refusedError struct{ sentence string }

func (e *refusedError) Error() string { return e.sentence }

// refusal returns all that stands in the way, or nil.
func refusal(checks []events.RestoreCheck) error {
	var said []string
	for _, c := range checks {
		if !c.OK && !c.Forced {
			said = append(said, c.Sentence)
		}
	}
	if said == nil {
		return nil
	}
	return &refusedError{strings.Join(said, " ")}
}

// safety backs up what will be replaced: encrypted if the backup that replaces it is.
func (at *attempt) safety(ctx context.Context) error {
	env, err := at.w.log.Last(ctx, events.ProjectAggregate(at.a.Project))
	if err != nil {
		return err
	}
	registered, ok := env.Event.(events.ProjectRegistered)
	if !ok {
		return misfit("The project %s is not registered any more", at.a.Project)
	}
	c := backup.Create{
		ID: restore.SafetyID(at.a.ID), Project: at.a.Project, Pool: registered.Pool, Type: backup.Full, Destination: registered.DefaultDestination,
		Encrypt: registered.EncryptDefault || at.encrypted, Origin: backup.OriginSafety, Under: at.a.ID, BodyHash: "safety",
	}
	if parts := at.state.Request.Parts; len(parts) == 1 {
		c.Type = parts[0]
	}
	if err := at.patiently(ctx, "the event log", func() error { return at.w.cfg.Send(ctx, c, at.cause) }); err != nil {
		return err
	}
	for {
		var s backup.State
		err := at.patiently(ctx, "the event log", func() (err error) {
			s, err = at.backupState(ctx, c.ID)
			return err
		})
		switch {
		case err != nil:
			return err
		case s.Completed != nil:
			return nil
		case s.Failed != nil:
			return misfit("The safety backup failed: %s. Nothing was changed; to do without it send \"safetyBackup\":false", s.Failed.Message)
		case s.Rejected != nil:
			return misfit("The safety backup was refused: %s. Nothing was changed; to do without it send \"safetyBackup\":false", s.Rejected.Message)
		}
		wait(ctx, 300*time.Millisecond)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func (at *attempt) backupState(ctx context.Context, id string) (s backup.State, err error) {
	s, err = archived(ctx, at.w.log, id, at.a.Project)
	if fault.CodeOf(err) != fault.Internal {
		err = nil // not readable yet
	}
	return s, err
}

// misfitError says that something does not fit the request, which trying again
// does not change.
type misfitError struct{ sentence string }

func (e *misfitError) Error() string { return e.sentence }

func misfit(format string, args ...any) error { return &misfitError{fmt.Sprintf(format, args...)} }

// archiveError says that the archive cannot be used.
type archiveError struct{ err error }

func (e *archiveError) Error() string { return "archive: " + e.err.Error() }
func (e *archiveError) Unwrap() error { return e.err }

// diagnose makes a fact for people out of an error.
func diagnose(err error) events.RestoreFailed {
	var refused *refusedError
	var fit *misfitError
	var arch *archiveError
	var source *project.Error
	switch {
	case errors.Is(err, guard.ErrStalled): // what hangs may still write when it wakes up: another attempt must not be in its way
		return events.RestoreFailed{Reason: events.ReasonStalled, Message: "The restore stalled, so nothing was changed: " + strings.TrimPrefix(err.Error(), guard.ErrStalled.Error()+": ") +
			"; see whether the destination, the database server or a file system hangs, then restore again"}
	case errors.As(err, &refused):
		return events.RestoreFailed{Reason: events.ReasonRefused, Message: strings.TrimSuffix(refused.sentence, ".")}
	case errors.As(err, &fit):
		return events.RestoreFailed{Reason: events.ReasonConfig, Message: fit.sentence}
	case errors.As(err, &arch):
		return events.RestoreFailed{Reason: events.ReasonArchive, Message: "The archive cannot be used: " + arch.err.Error()}
	case errors.As(err, &source):
		reason := events.ReasonSource
		switch {
		case noSpace(err):
			reason = events.ReasonNoSpace
		case source.Refused:
			reason = events.ReasonRefused
		}
		return events.RestoreFailed{Reason: reason, Message: strings.TrimSuffix(source.Sentence, "."), Retryable: source.Retry}
	case errors.Is(err, archive.ErrCorrupt), errors.Is(err, archive.ErrUnsafe), errors.Is(err, archive.ErrVersion), errors.Is(err, archive.ErrLimit):
		return events.RestoreFailed{Reason: events.ReasonArchive, Message: "The archive is damaged, so nothing was changed: " + project.Damage(err)}
	case noSpace(err):
		return events.RestoreFailed{Reason: events.ReasonNoSpace, Message: "A disk that the restore needs is full; make room and try again"}
	case fault.CodeOf(err) == fault.BadArchive, fault.CodeOf(err) == fault.BackupNotFound:
		return events.RestoreFailed{Reason: events.ReasonArchive, Message: fault.MessageOf(err)}
	case fault.CodeOf(err) == fault.Unavailable:
		return events.RestoreFailed{Reason: events.ReasonDestination, Message: fault.MessageOf(err), Retryable: true}
	}
	return events.RestoreFailed{Reason: events.ReasonInternal, Message: "An internal error; the log of the worker says more", Retryable: true}
}
