package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/catalog"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// A job that the catalog does not list may be nothing but a command in the queue, may have
// been refused since, or the catalog may be behind. The queue and the log know it, whichever
// gateway is asked.

// lookUp decodes the command that asks for a job into cmd and returns when it was sent, the
// zero time if it is not in the queue, and what the log says of the job.
func lookUp[S events.State[S]](ctx context.Context, g *Gateway, service, kind, verb, id string, cmd any) (sent time.Time, a events.Aggregate, s S, err error) {
	if sent, err = g.b.Waiting(ctx, service, verb, id, cmd); err != nil {
		return sent, a, s, err
	}
	a, err = g.b.Find(ctx, kind, id) // after the queue: a command leaves it when its effect is in the log
	if errors.Is(err, events.ErrNoEvent) {
		return sent, a, s, nil
	}
	if err == nil {
		s, err = fold[S](ctx, g, a, 0)
	}
	return sent, a, s, err
}

// unlistedBackup returns a backup that the catalog does not list.
func (g *Gateway) unlistedBackup(c *fiber.Ctx, id string) (catalog.Backup, error) {
	var cmd backup.Create
	none := fault.Errorf(fault.BackupNotFound, "Backup not found")
	sent, a, state, err := lookUp[backup.State](c.UserContext(), g, backup.Service, events.KindBackup, backup.VerbCreate, id, &cmd)
	switch waits := !sent.IsZero(); {
	case err != nil:
		return catalog.Backup{}, err
	case state.Deleted || !keyOf(c).may(a.Project) && !keyOf(c).may(cmd.Project):
		return catalog.Backup{}, none
	case state.Exists():
		return g.b.Catalog.Get(c.UserContext(), catalog.Get{ID: id, Min: state.Revision})
	case !waits && state.Rejected != nil:
		return catalog.Backup{}, fault.Errorf(fault.Code(state.Rejected.Code), "%s", state.Rejected.Message)
	case !waits:
		return catalog.Backup{}, none
	}
	return queuedBackup(cmd, sent, state), nil
}

// queuedBackup is a backup whose command no worker has taken. It has no revision.
func queuedBackup(c backup.Create, sent time.Time, s backup.State) catalog.Backup {
	b := catalog.Backup{
		ID: c.ID, Project: c.Project, ProjectName: c.Project, Type: c.Type, Status: catalog.Pending, Destination: c.Destination,
		Encrypted: c.Encrypt, Origin: c.Origin, Pool: c.Pool, Created: sent,
	}
	if s.Cancel {
		b.Status, b.Error, b.Reason = catalog.Failed, cancelled, string(events.ReasonCancelled)
	}
	return b
}

const cancelled = "Cancelled"

// unlistedRestore returns a restore that the catalog does not list.
func (g *Gateway) unlistedRestore(c *fiber.Ctx, id string) (catalog.Restore, error) {
	var cmd restore.Create
	none := fault.Errorf(fault.NotFound, "Restore not found")
	sent, a, state, err := lookUp[restore.State](c.UserContext(), g, restore.Service, events.KindRestore, restore.VerbCreate, id, &cmd)
	switch waits := !sent.IsZero(); {
	case err != nil:
		return catalog.Restore{}, err
	case !keyOf(c).may(a.Project) && !keyOf(c).may(cmd.Project):
		return catalog.Restore{}, none
	case state.Exists():
		return g.b.Catalog.Restore(c.UserContext(), catalog.GetRestore{ID: id, Min: state.Revision})
	case !waits && state.Rejected != nil:
		return catalog.Restore{}, fault.Errorf(fault.Code(state.Rejected.Code), "%s", state.Rejected.Message)
	case !waits:
		return catalog.Restore{}, none
	}
	return queuedRestore(cmd, sent, state), nil
}

// queuedRestore is a restore whose command no worker has taken. It has no revision.
func queuedRestore(c restore.Create, sent time.Time, s restore.State) catalog.Restore {
	r := catalog.Restore{
		ID: c.ID, Backup: c.Backup, Project: c.Project, Pool: c.Pool, Parts: c.Parts, Status: catalog.Pending, Forced: c.Force, DryRun: c.DryRun, Created: sent,
	}
	if s.Cancel {
		r.Status, r.Error, r.Reason = catalog.Failed, cancelled, string(events.ReasonCancelled)
	}
	return r
}
