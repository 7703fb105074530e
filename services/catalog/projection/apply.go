package projection

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/catalog"
)

// apply writes what a batch of events changes, and the checkpoint, in one
// transaction. It returns the backups that completed.
func apply(ctx context.Context, db *sql.DB, batch []events.Envelope) (completed []catalog.Backup, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	for _, env := range batch {
		b, err := applyOne(ctx, tx, env)
		if err != nil {
			return nil, fmt.Errorf("event %d (%s): %w", env.Revision, env.Event.EventType(), err)
		}
		if b != nil {
			completed = append(completed, *b)
		}
	}
	last := batch[len(batch)-1]
	if _, err := tx.ExecContext(ctx, "UPDATE meta SET v = CASE k WHEN 'revision' THEN ? ELSE ? END WHERE k IN ('revision', 'event')", last.Revision.String(), last.ID); err != nil {
		return nil, err
	}
	return completed, tx.Commit()
}

func applyOne(ctx context.Context, tx *sql.Tx, env events.Envelope) (completed *catalog.Backup, err error) {
	switch e := env.Event.(type) {
	case events.Broken:
		return nil, setAside(ctx, tx, env)
	case events.Unknown:
		if err := skipped(ctx, tx, e.Type); err != nil {
			return nil, err
		}
	}
	switch env.Aggregate.Kind {
	case events.KindProject:
		return nil, applyProject(ctx, tx, env)
	case events.KindBackup:
		return applyBackup(ctx, tx, env)
	case events.KindRestore:
		return nil, applyRestore(ctx, tx, env)
	}
	return nil, nil //nolint:nilnil // of no interest
}

func applyProject(ctx context.Context, tx *sql.Tx, env events.Envelope) error {
	id := env.Aggregate.Project
	switch e := env.Event.(type) {
	case events.ProjectRegistered:
		doc, err := json.Marshal(catalog.Project{ID: id, ProjectRegistered: e})
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO projects VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc", id, string(doc))
		return err
	case events.ProjectRemoved:
		_, err := tx.ExecContext(ctx, "DELETE FROM projects WHERE id = ?", id)
		return err
	}
	return nil
}

func applyBackup(ctx context.Context, tx *sql.Tx, env events.Envelope) (completed *catalog.Backup, err error) {
	before, err := load(ctx, tx, env.Aggregate.ID)
	if err != nil {
		return nil, err
	}
	after := fold(before, env)
	if before == nil && after == nil {
		return nil, nil //nolint:nilnil // rejected, or of a later version
	}
	if err := store(ctx, tx, env.Aggregate.ID, before, after); err != nil {
		return nil, err
	}
	newest := "excluded.at" // in the order of the log, whatever the clocks say
	switch env.Event.(type) {
	case events.BackupCompleted:
		completed = after
	case events.BackupAdopted: // how long it took is not known, and it ended at any time
		newest = "max(at, excluded.at)"
	default:
		return nil, nil //nolint:nilnil // not completed
	}
	if after == nil {
		return nil, nil //nolint:nilnil // not there any more
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO success VALUES (?, ?) ON CONFLICT (project) DO UPDATE SET at = "+newest, after.Project, after.Ended.UnixNano())
	return completed, err
}

// fold returns what an event makes of a backup; nil is a backup that is not
// there.
func fold(before *catalog.Backup, env events.Envelope) *catalog.Backup {
	if e, ok := env.Event.(events.BackupRequested); ok {
		return &catalog.Backup{
			ID: env.Aggregate.ID, Project: env.Aggregate.Project, Type: e.Type, Status: catalog.Pending, Destination: e.Destination, Pool: e.Pool,
			Encrypted: e.Encrypt, Origin: e.Origin, Created: env.Time, Revision: env.Revision,
		}
	}
	if e, ok := env.Event.(events.BackupAdopted); ok {
		b := &catalog.Backup{
			ID: env.Aggregate.ID, Project: env.Aggregate.Project, Type: e.Type, Status: catalog.Completed, Destination: e.Destination,
			Origin: backup.OriginAdopted, Created: e.CreatedAt, Ended: e.EndedAt, Revision: env.Revision,
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
		b.Verification = &catalog.Verification{OK: e.OK, At: env.Time, Message: e.Message}
	case events.BackupHeld:
		b.Held = true
	case events.BackupReleased:
		b.Held = false
	case events.BackupDeleted:
		return nil
	}
	return &b
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

func load(ctx context.Context, tx *sql.Tx, id string) (*catalog.Backup, error) {
	var doc string
	err := tx.QueryRowContext(ctx, "SELECT doc FROM backups WHERE id = ?", id).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // a backup that is not there
	}
	if err != nil {
		return nil, err
	}
	var b catalog.Backup
	return &b, json.Unmarshal([]byte(doc), &b)
}

// store writes a row and keeps the counts.
func store(ctx context.Context, tx *sql.Tx, id string, before, after *catalog.Backup) error {
	if err := count(ctx, tx, before, -1); err != nil {
		return err
	}
	if err := count(ctx, tx, after, 1); err != nil {
		return err
	}
	if err := countDamaged(ctx, tx, before, after); err != nil {
		return err
	}
	if after == nil {
		_, err := tx.ExecContext(ctx, "DELETE FROM backups WHERE id = ?", id)
		return err
	}
	doc, err := json.Marshal(after)
	if err != nil {
		return err
	}
	if before != nil {
		_, err = tx.ExecContext(ctx, "UPDATE backups SET status = ?, size = ?, doc = ? WHERE id = ?", after.Status, after.Size, string(doc), id)
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO backups (id, project, type, status, destination, created, size, doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		id, after.Project, after.Type, after.Status, after.Destination, after.Created.UnixNano(), after.Size, string(doc))
	return err
}

func count(ctx context.Context, tx *sql.Tx, b *catalog.Backup, sign int64) error {
	if b == nil {
		return nil
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO counts VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (project, status, type, destination) DO UPDATE SET count = count + excluded.count, size = size + excluded.size`,
		b.Project, b.Status, b.Type, b.Destination, sign, sign*b.Size)
	return err
}

// countDamaged keeps the number of backups whose last verification failed.
func countDamaged(ctx context.Context, tx *sql.Tx, before, after *catalog.Backup) error {
	damaged := func(b *catalog.Backup) int {
		if b != nil && b.Verification != nil && !b.Verification.OK {
			return 1
		}
		return 0
	}
	change, b := damaged(after)-damaged(before), after
	if change == 0 {
		return nil
	}
	if b == nil {
		b = before
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO damaged VALUES (?, ?) ON CONFLICT (project) DO UPDATE SET count = count + excluded.count", b.Project, change)
	return err
}
