package projection

import (
	"context"
	"database/sql"
	"encoding/json"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/services/catalog"
)

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
	there := false
	err = p.read(ctx, q.Min, func(rd reader) error {
		return rd.each(ctx, "SELECT doc FROM restores WHERE id = ?", func(rs *sql.Rows) error {
			there = true
			var doc []byte
			if err := rs.Scan(&doc); err != nil {
				return err
			}
			return json.Unmarshal(doc, &r)
		}, q.ID)
	})
	if err == nil && !there {
		err = fault.Errorf(fault.NotFound, "Restore not found")
	}
	return r, err
}
