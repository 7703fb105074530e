package gateway

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/catalog"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// restoreBody is the body of POST /backups/:id/restore.
type restoreBody struct {
	RestoreTypes    []string `json:"restoreTypes"` // nil: everything
	ForceRestore    *bool    `json:"forceRestore,omitempty"`
	TargetProjectID *string  `json:"targetProjectId,omitempty"`
	SafetyBackup    *bool    `json:"safetyBackup,omitempty"`
	DryRun          *bool    `json:"dryRun,omitempty"`
}

// restore answers POST /backups/:id/restore.
func (g *Gateway) restore(c *fiber.Ctx) error {
	b, err := g.find(c)
	if err != nil {
		return err
	}
	var body restoreBody
	if err := optionalBody(c, &body); err != nil {
		return err
	}
	cmd, err := g.restoreCommand(c.UserContext(), keyOf(c), b, body)
	if err != nil {
		return err
	}
	key, err := idempotencyKey(c)
	if err != nil {
		return err
	}
	if cmd.ID = restore.NewID(); key != "" {
		cmd.ID = restore.IDFor(keyOf(c).Hash, b.ID, key)
	}
	if err := g.claim(c, cmd.Project, cmd.BodyHash); err != nil {
		return err
	}
	pref := prefer(c, g.cfg.MaxWait)
	limit, release, err := g.waitingPlace(c, pref.limit(), pref.async)
	if err != nil {
		return err
	}
	defer release()
	state, err := g.requestRestore(c, cmd, limit, pref.async)
	if err != nil {
		return err
	}
	return g.answerRestore(c, cmd, state, pref)
}

// restoreCommand makes a command out of a body.
func (g *Gateway) restoreCommand(ctx context.Context, key Key, b catalog.Backup, body restoreBody) (restore.Create, error) {
	yes := func(p *bool, def bool) bool {
		if p == nil {
			return def
		}
		return *p
	}
	cmd := restore.Create{
		Project: b.Project, Backup: b.ID, BackupProject: b.Project, BackupKnown: b.Revision, Force: yes(body.ForceRestore, false), Safety: yes(body.SafetyBackup, true),
		DryRun: yes(body.DryRun, false), BodyHash: hashOf(body),
	}
	if body.TargetProjectID != nil {
		cmd.Project = *body.TargetProjectID
	}
	p, err := g.project(ctx, key, cmd.Project)
	if err != nil {
		return cmd, err
	}
	cmd.Pool = p.Pool
	state, err := fold[backup.State](ctx, g, events.BackupAggregate(b.Project, b.ID), b.Revision)
	if err != nil {
		return cmd, err
	}
	if err := backup.Readable(state); err != nil {
		return cmd, err
	}
	if cmd.Parts, err = partsOf(body.RestoreTypes, b); err != nil {
		return cmd, err
	}
	for _, name := range cmd.Parts {
		if !slices.Contains(p.Parts, name) {
			return cmd, fault.Errorf(fault.Invalid, "The project %s has no part %s to restore into; it has %s", p.ID, name, strings.Join(p.Parts, ", "))
		}
	}
	return cmd, nil
}

// partsOf returns the parts that some types ask for, in the order of the archive.
func partsOf(types []string, b catalog.Backup) ([]string, error) {
	var held []string
	for _, p := range b.Parts {
		held = append(held, p.Name)
	}
	if len(held) == 0 { // a restore would bring nothing back and call that a success
		return nil, fault.Errorf(fault.Conflict, "The event log names no parts of this backup, so its entry is damaged and nothing can be restored from it")
	}
	if types != nil && len(types) == 0 {
		return nil, fault.Errorf(fault.Invalid, "restoreTypes is empty; name some of %s, or leave it out", strings.Join(backup.Types(), ", "))
	}
	for _, t := range types {
		if !slices.Contains(backup.Types(), t) {
			return nil, fault.Errorf(fault.Invalid, "restoreTypes must be some of %s", strings.Join(backup.Types(), ", "))
		}
		if t != backup.Full && !slices.Contains(held, t) {
			return nil, fault.Errorf(fault.Invalid, "The backup holds no %s; it holds %s", t, strings.Join(held, ", "))
		}
	}
	if len(types) == 0 || slices.Contains(types, backup.Full) {
		return held, nil
	}
	return slices.DeleteFunc(held, func(p string) bool { return !slices.Contains(types, p) }), nil
}

// requestRestore sends the command, unless it was sent before, and waits for the end
// of the restore, or that it is accepted, at most until limit.
func (g *Gateway) requestRestore(c *fiber.Ctx, cmd restore.Create, limit time.Duration, async bool) (restore.State, error) {
	ctx, a := c.UserContext(), cmd.CommandRoute().About
	changed, stop := g.b.Watch(a)
	defer stop()
	state, err := fold[restore.State](ctx, g, a, 0)
	if err != nil {
		return state, err
	}
	if state.Exists() {
		if err := restore.Repeat(state, cmd.BodyHash); !errors.Is(err, events.ErrNoChange) {
			return state, err
		}
	} else if err := g.send(c, cmd); err != nil {
		return state, err
	}
	before, enough := state.Revision, restore.State.Terminal
	if async {
		enough = restore.State.Exists
	}
	return await(c, g, a, before, changed, limit, func(s restore.State) (bool, error) {
		if s.Rejected != nil && s.Revision > before {
			return true, fault.Errorf(fault.Code(s.Rejected.Code), "%s", s.Rejected.Message)
		}
		return enough(s), nil
	})
}

type restoreAnswer struct {
	Success bool        `json:"success"`
	Restore restoreView `json:"restore"`
}

func (g *Gateway) answerRestore(c *fiber.Ctx, cmd restore.Create, state restore.State, pref preference) error {
	c.Set(fiber.HeaderLocation, "/api/v1/restores/"+cmd.ID)
	if pref.said != "" {
		c.Set("Preference-Applied", pref.said)
	}
	row := queuedRestore(cmd, time.Now(), state) // until the worker says otherwise
	if state.Exists() {
		var err error
		if row, err = g.b.Catalog.Restore(c.UserContext(), catalog.GetRestore{ID: cmd.ID, Min: state.Revision}); err != nil {
			return err
		}
	}
	if f := state.Failed; f != nil && !pref.async {
		if f.Reason == events.ReasonRefused {
			return fault.Errorf(fault.Conflict, "The restore was refused: %s. The project is %s", f.Message, f.State)
		}
		return fault.Errorf(fault.RestoreFailed, "Restore failed: %s. The project is %s", f.Message, f.State)
	}
	status := fiber.StatusOK
	if row.Status != catalog.Completed || pref.async {
		status = fiber.StatusAccepted
	}
	return c.Status(status).JSON(restoreAnswer{true, g.restored(c.UserContext(), row)})
}

// restored returns a restore as an answer to a request about it.
func (g *Gateway) restored(ctx context.Context, r catalog.Restore) restoreView {
	v := viewRestore(r)
	v.WaitsFor = g.restoreWaitsFor(ctx, r)
	return v
}

// findRestore returns the restore of a route with :id that the key may see and that a
// worker has accepted.
func (g *Gateway) findRestore(c *fiber.Ctx) (catalog.Restore, error) {
	r, err := g.findAnyRestore(c)
	if err == nil && r.Revision == 0 {
		err = fault.Errorf(fault.Conflict, "The restore is queued: no worker of the pool %s has taken it yet", r.Pool)
	}
	return r, err
}

// findAnyRestore returns the restore of a route with :id that the key may see, also one
// that is nothing but a command in the queue, which has no revision.
func (g *Gateway) findAnyRestore(c *fiber.Ctx) (catalog.Restore, error) {
	id := c.Params("id")
	if !restore.ValidID(id) {
		return catalog.Restore{}, fault.Errorf(fault.NotFound, "Restore not found")
	}
	r, err := g.b.Catalog.Restore(c.UserContext(), catalog.GetRestore{ID: id})
	if fault.CodeOf(err) == fault.NotFound {
		r, err = g.unlistedRestore(c, id)
	}
	if err == nil && !keyOf(c).may(r.Project) {
		err = fault.Errorf(fault.NotFound, "Restore not found")
	}
	return r, err
}

// getRestore answers GET /restores/:id.
func (g *Gateway) getRestore(c *fiber.Ctx) error {
	r, err := g.findAnyRestore(c)
	if err != nil {
		return err
	}
	v := g.restored(c.UserContext(), r)
	if r.Status == catalog.InProgress {
		if p, ok := g.b.Progress(c.UserContext(), events.RestoreAggregate(r.Project, r.ID)); ok {
			v.Progress = &p
		}
	}
	return c.JSON(v)
}

// undo answers POST /restores/:id/undo.
func (g *Gateway) undo(c *fiber.Ctx) error {
	r, err := g.findRestore(c)
	if err != nil {
		return err
	}
	if err := g.claim(c, r.Project, ""); err != nil {
		return err
	}
	cmd := restore.Undo{ID: r.ID, Project: r.Project, Pool: r.Pool, Known: r.Revision}
	may := restore.Undoable
	state, err := perform(c, g, cmd, r.Revision, may, g.cfg.MaxWait, func(before, s restore.State) (bool, error) {
		if s.NotUndone != nil && s.Revision > before.Revision {
			code := fault.RestoreFailed
			if s.NotUndone.Reason == events.ReasonRefused {
				code = fault.Conflict
			}
			return true, fault.Errorf(code, "The restore could not be undone: %s", s.NotUndone.Message)
		}
		return s.Undone, nil
	})
	if err != nil {
		return err
	}
	row, err := g.b.Catalog.Restore(c.UserContext(), catalog.GetRestore{ID: r.ID, Min: state.Revision})
	if err != nil {
		return err
	}
	status := fiber.StatusOK
	if !state.Undone {
		status = fiber.StatusAccepted
	}
	return c.Status(status).JSON(restoreAnswer{true, viewRestore(row)})
}
