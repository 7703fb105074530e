package projection

import (
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/catalog"
)

// foldBackup returns what an event makes of a backup; nil is a backup that is not
// there.
func foldBackup(before *catalog.Backup, env events.Envelope) *catalog.Backup {
	if e, ok := env.Event.(events.BackupRequested); ok {
		return &catalog.Backup{
			ID: env.Aggregate.ID, Project: env.Aggregate.Project, Type: e.Type, Status: catalog.Pending, Destination: e.Destination, Pool: e.Pool,
			Encrypted: e.Encrypt, Origin: e.Origin, Created: env.Time, First: first(before, env), Revision: env.Revision,
		}
	}
	if e, ok := env.Event.(events.BackupAdopted); ok {
		b := &catalog.Backup{
			ID: env.Aggregate.ID, Project: env.Aggregate.Project, Type: e.Type, Status: catalog.Completed, Destination: e.Destination,
			Origin: backup.OriginAdopted, Unverified: true, Created: e.CreatedAt, Ended: e.EndedAt, First: first(before, env), Revision: env.Revision,
		}
		complete(b, e.Completed)
		return b
	}
	if before == nil {
		return nil
	}
	b := *before
	b.Revision = env.Revision
	switch e := env.Event.(type) {
	case events.BackupStarted:
		b.Status = catalog.InProgress
	case events.BackupCompleted:
		b.Status, b.Ended = catalog.Completed, notBefore(env.Time, b.Created)
		complete(&b, e)
	case events.BackupFailed:
		b.Status = catalog.Pending
		if e.Final {
			b.Status, b.Ended, b.Error, b.Reason = catalog.Failed, notBefore(env.Time, b.Created), e.Message, string(e.Reason)
		}
	case events.BackupCancelled:
		b.Status, b.Ended, b.Error, b.Reason = catalog.Failed, notBefore(env.Time, b.Created), "Cancelled", string(events.ReasonCancelled)
	case events.BackupVerified:
		b.Verification, b.Unverified = &catalog.Verification{OK: e.OK, At: env.Time, Message: e.Message}, b.Unverified && !e.Whole()
	case events.BackupHeld:
		b.Held = true
	case events.BackupReleased:
		b.Held = false
	case events.BackupDeleted:
		return nil
	}
	return &b
}

// first returns the revision of the first event of a backup.
func first(before *catalog.Backup, env events.Envelope) events.Revision {
	if before != nil {
		return before.First
	}
	return env.Revision
}

// notBefore returns the end of something that began at a time: a clock that was set
// back must not give a negative duration.
func notBefore(end, begin time.Time) time.Time {
	if end.Before(begin) {
		return begin
	}
	return end
}

func complete(b *catalog.Backup, e events.BackupCompleted) {
	b.Key, b.Path, b.Size, b.SHA256, b.Pool, b.Encrypted, b.Parts, b.Warnings = e.Key, e.Path, e.Size, e.SHA256, e.Pool, e.Encrypted, e.Parts, e.Warnings
}
