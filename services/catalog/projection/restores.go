package projection

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/services/catalog"
)

func applyRestore(ctx context.Context, tx *sql.Tx, env events.Envelope) error {
	var before *catalog.Restore
	var doc string
	err := tx.QueryRowContext(ctx, "SELECT doc FROM restores WHERE id = ?", env.Aggregate.ID).Scan(&doc)
	if err == nil {
		before = &catalog.Restore{}
		err = json.Unmarshal([]byte(doc), before)
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	after := foldRestore(before, env)
	if after == nil {
		return nil // rejected, or of a later version
	}
	b, err := json.Marshal(after)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO restores VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc", after.ID, after.Backup, string(b))
	return err
}

// foldRestore returns what an event makes of a restore; nil is one that is not
// there.
func foldRestore(before *catalog.Restore, env events.Envelope) *catalog.Restore {
	if e, ok := env.Event.(events.RestoreRequested); ok {
		return &catalog.Restore{
			ID: env.Aggregate.ID, Backup: e.Backup, Project: env.Aggregate.Project, Pool: e.Pool, Parts: e.Parts, Status: catalog.Pending, Forced: e.Force,
			DryRun: e.DryRun, Created: env.Time, Revision: env.Revision,
		}
	}
	if before == nil {
		return nil
	}
	r := *before
	r.Revision = env.Revision
	switch e := env.Event.(type) {
	case events.RestoreStarted:
		r.Status = catalog.InProgress
	case events.RestoreStageCompleted:
		r.Stage = e.Stage
	case events.RestoreCompleted:
		r.Status, r.Ended, r.Warnings, r.Plan = catalog.Completed, notBefore(env.Time, r.Created), e.Warnings, e.Plan
		if e.KeptUntil != nil {
			r.KeptUntil = *e.KeptUntil
		}
	case events.RestoreFailed:
		r.Status = catalog.Pending
		if e.Final {
			r.Status, r.Ended, r.Error, r.Reason, r.State, r.Checks = catalog.Failed, notBefore(env.Time, r.Created), e.Message, string(e.Reason), e.State, e.Checks
		}
	case events.RestoreCancelled:
		r.Status, r.Ended, r.Error, r.Reason = catalog.Failed, notBefore(env.Time, r.Created), "Cancelled", string(events.ReasonCancelled)
	case events.RestoreUndone:
		r.Undone = true
	}
	return &r
}

// Restore implements [catalog.Reader].
func (p *Projection) Restore(ctx context.Context, q catalog.GetRestore) (r catalog.Restore, err error) {
	db, err := p.at(ctx, q.Min)
	if err != nil {
		return r, err
	}
	var doc string
	err = db.QueryRowContext(ctx, "SELECT doc FROM restores WHERE id = ?", q.ID).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return r, fault.Errorf(fault.NotFound, "Restore not found")
	}
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal([]byte(doc), &r)
}

// restoresOf returns the restores of a backup, oldest first, without dry runs.
func restoresOf(ctx context.Context, db *sql.DB, backup string) (out []catalog.Restore, err error) {
	rs, err := db.QueryContext(ctx, "SELECT doc FROM restores WHERE backup = ?", backup)
	if err != nil {
		return nil, err
	}
	defer rs.Close() //nolint:errcheck // read only
	for rs.Next() {
		var doc string
		if err := rs.Scan(&doc); err != nil {
			return nil, err
		}
		var r catalog.Restore
		if err := json.Unmarshal([]byte(doc), &r); err != nil {
			return nil, err
		}
		if !r.DryRun {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b catalog.Restore) int { return a.Created.Compare(b.Created) })
	return out, rs.Err()
}

// countRestores counts restores by project and status, without dry runs.
func countRestores(ctx context.Context, db *sql.DB) ([]catalog.Restored, error) {
	rs, err := db.QueryContext(ctx, `SELECT doc ->> 'project', doc ->> 'status', count(*), coalesce(max(unixepoch(doc ->> 'ended')), 0) FROM restores
 WHERE doc ->> 'dry_run' IS NULL GROUP BY 1, 2 ORDER BY 1, 2`)
	if err != nil {
		return nil, err
	}
	defer rs.Close() //nolint:errcheck // read only
	out := []catalog.Restored{}
	for rs.Next() {
		var r catalog.Restored
		var ended int64
		if err := rs.Scan(&r.Project, &r.Status, &r.Count, &ended); err != nil {
			return nil, err
		}
		if ended > 0 {
			r.Ended = time.Unix(ended, 0).UTC()
		}
		out = append(out, r)
	}
	return out, rs.Err()
}
