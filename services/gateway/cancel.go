package gateway

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/catalog"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// A job that was cancelled has ended when it is listed as failed. One that is nothing but
// a command in the queue has ended at once: its worker will refuse the command.

// cancelWait returns how long a cancellation may take before the client is sent away.
func cancelWait(workers bool) time.Duration {
	if !workers {
		return acceptWait // the next worker finds the request
	}
	return deleteWait
}

// cancel answers POST /backups/:id/cancel.
func (g *Gateway) cancel(c *fiber.Ctx) error {
	b, err := g.findAny(c, nil)
	if err != nil {
		return err
	}
	if err := g.claim(c, b.Project, ""); err != nil {
		return err
	}
	pool, workers, err := g.poolWithWorker(c.UserContext(), backup.Service, b.Pool)
	if err != nil {
		return err
	}
	queued := b.Revision == 0
	cmd := backup.Cancel{ID: b.ID, Project: b.Project, Pool: pool, Known: b.Revision, Queued: queued}
	if queued { // an earlier command with the same id may have been refused
		earlier, err := fold[backup.State](c.UserContext(), g, cmd.CommandRoute().About, 0)
		if err != nil {
			return err
		}
		cmd.Known = earlier.Revision
	}
	may := func(s backup.State) error {
		if queued && !s.Exists() {
			return nil
		}
		return backup.Cancellable(s)
	}
	over := func(s backup.State) bool {
		return s.Terminal() || !s.Exists() && (s.Cancel || s.Rejected != nil && s.Revision > cmd.Known)
	}
	state, err := perform(c, g, cmd, b.Revision, may, cancelWait(workers), func(_, s backup.State) (bool, error) { return over(s), nil })
	if err != nil {
		return err
	}
	if state.Exists() {
		if b, err = g.b.Catalog.Get(c.UserContext(), catalog.Get{ID: b.ID, Min: state.Revision}); err != nil {
			return err
		}
		if over(state) && b.Reason != string(events.ReasonCancelled) {
			return fault.Errorf(fault.Conflict, "The backup ended before it could be cancelled; its status is %s", b.Status)
		}
	} else {
		state.Cancel = over(state)
		b = queuedBackup(backup.Create{ID: b.ID, Project: b.Project, Pool: b.Pool, Type: b.Type, Destination: b.Destination, Encrypt: b.Encrypted, Origin: b.Origin}, b.Created, state)
	}
	status := fiber.StatusOK
	if !over(state) {
		status = fiber.StatusAccepted
	}
	return c.Status(status).JSON(createAnswer{true, g.created(c.UserContext(), b)})
}

// cancelRestore answers POST /restores/:id/cancel.
func (g *Gateway) cancelRestore(c *fiber.Ctx) error {
	r, err := g.findAnyRestore(c)
	if err != nil {
		return err
	}
	if err := g.claim(c, r.Project, ""); err != nil {
		return err
	}
	pool, workers, err := g.poolWithWorker(c.UserContext(), restore.Service, r.Pool)
	if err != nil {
		return err
	}
	queued := r.Revision == 0
	cmd := restore.Cancel{ID: r.ID, Project: r.Project, Pool: pool, Known: r.Revision, Queued: queued}
	if queued { // an earlier command with the same id may have been refused
		earlier, err := fold[restore.State](c.UserContext(), g, cmd.CommandRoute().About, 0)
		if err != nil {
			return err
		}
		cmd.Known = earlier.Revision
	}
	may := func(s restore.State) error {
		if queued && !s.Exists() {
			return nil
		}
		return restore.Cancellable(s)
	}
	over := func(s restore.State) bool {
		return s.Terminal() || !s.Exists() && (s.Cancel || s.Rejected != nil && s.Revision > cmd.Known)
	}
	state, err := perform(c, g, cmd, r.Revision, may, cancelWait(workers), func(before, s restore.State) (bool, error) {
		if s.Done(restore.Ready) && !before.Done(restore.Ready) && !s.Terminal() {
			return true, restore.Cancellable(s) // the swap was faster
		}
		return over(s), nil
	})
	if err != nil {
		return err
	}
	if state.Exists() {
		if r, err = g.b.Catalog.Restore(c.UserContext(), catalog.GetRestore{ID: r.ID, Min: state.Revision}); err != nil {
			return err
		}
		if over(state) && r.Reason != string(events.ReasonCancelled) {
			return fault.Errorf(fault.Conflict, "The restore ended before it could be cancelled; its status is %s", r.Status)
		}
	} else {
		state.Cancel = over(state)
		r = queuedRestore(restore.Create{ID: r.ID, Backup: r.Backup, Project: r.Project, Pool: r.Pool, Parts: r.Parts, Force: r.Forced, DryRun: r.DryRun}, r.Created, state)
	}
	status := fiber.StatusOK
	if !over(state) {
		status = fiber.StatusAccepted
	}
	return c.Status(status).JSON(restoreAnswer{true, g.restored(c.UserContext(), r)})
}
