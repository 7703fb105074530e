package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/catalog"
)

// createBody is the body of POST /backups.
type createBody struct {
	ProjectID   *string `json:"projectId,omitempty"`
	Type        *string `json:"type,omitempty"`
	Destination *string `json:"destination,omitempty"`
	Encrypt     *bool   `json:"encrypt,omitempty"`
}

// hashOf identifies a body, whatever its spaces and the order of its fields.
func hashOf(body any) string {
	j, _ := json.Marshal(body) // strings and bools
	sum := sha256.Sum256(j)
	return hex.EncodeToString(sum[:])
}

// create answers POST /backups.
func (g *Gateway) create(c *fiber.Ctx) error {
	var body createBody
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	cmd, err := g.command(c.UserContext(), keyOf(c), body)
	if err != nil {
		return err
	}
	cmd.ID = backup.NewID()
	key, err := idempotencyKey(c)
	if err != nil {
		return err
	}
	if key != "" {
		cmd.ID = backup.IDFor(keyOf(c).Hash, cmd.Project, key)
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
	state, err := g.request(c, cmd, limit, pref.async)
	if err != nil {
		return err
	}
	return g.answerCreate(c, cmd, state, pref)
}

// command makes a command out of a body that the project's worker can do.
func (g *Gateway) command(ctx context.Context, key Key, body createBody) (backup.Create, error) {
	c := backup.Create{Type: backup.Full, Origin: backup.OriginManual, BodyHash: hashOf(body)}
	if body.ProjectID == nil || *body.ProjectID == "" {
		return c, fault.Errorf(fault.Invalid, "projectId is required")
	}
	c.Project = *body.ProjectID
	p, err := g.project(ctx, key, c.Project)
	if err != nil {
		return c, err
	}
	return c, fill(&c, p, body)
}

// project returns a project that the key may touch. One that it may not touch is as
// unknown as one that does not exist, so that nobody learns which there are.
func (g *Gateway) project(ctx context.Context, key Key, id string) (catalog.Project, error) {
	projects, err := g.b.Catalog.Projects(ctx, catalog.Projects{})
	if err != nil {
		return catalog.Project{}, err
	}
	i := slices.IndexFunc(projects, func(p catalog.Project) bool { return p.ID == id && key.may(id) })
	if i < 0 {
		return catalog.Project{}, fault.Errorf(fault.ProjectNotFound, "Project not found")
	}
	return projects[i], nil
}

// fill takes over what the body says and what the project does by default.
func fill(c *backup.Create, p catalog.Project, body createBody) error {
	c.Pool, c.Destination, c.Encrypt = p.Pool, p.DefaultDestination, p.EncryptDefault
	if body.Type != nil {
		c.Type = *body.Type
	}
	if body.Destination != nil {
		c.Destination = *body.Destination
	}
	if body.Encrypt != nil {
		c.Encrypt = *body.Encrypt
	}
	if !slices.Contains(backup.Types(), c.Type) {
		return fault.Errorf(fault.Invalid, "type must be one of %s", strings.Join(backup.Types(), ", "))
	}
	if c.Type != backup.Full && !slices.Contains(p.Parts, c.Type) {
		return fault.Errorf(fault.Invalid, "The project has no part %s; it has %s", c.Type, strings.Join(p.Parts, ", "))
	}
	if !slices.Contains(p.Destinations, c.Destination) {
		return fault.Errorf(fault.Invalid, "The destination %q is not configured; there is %s", c.Destination, strings.Join(p.Destinations, ", "))
	}
	if c.Encrypt && !p.CanEncrypt {
		return fault.Errorf(fault.Invalid, "Encryption is not configured: set encryption.recipients, or send \"encrypt\":false")
	}
	return nil
}

// acceptWait is how long an asynchronous request waits to hear that its backup
// was accepted. When the worker is away, the command lies safely in the queue.
const acceptWait = 5 * time.Second

// request sends the command, unless it was sent before, and waits for the end of the
// backup, or that it is accepted, at most until limit.
func (g *Gateway) request(c *fiber.Ctx, cmd backup.Create, limit time.Duration, async bool) (backup.State, error) {
	ctx, a := c.UserContext(), cmd.CommandRoute().About
	changed, stop := g.b.Watch(a)
	defer stop()
	state, err := fold[backup.State](ctx, g, a, 0)
	if err != nil {
		return state, err
	}
	if state.Exists() {
		if err := backup.Repeat(state, cmd.BodyHash); !errors.Is(err, events.ErrNoChange) {
			return state, err
		}
		if state.Deleted {
			return state, fault.Errorf(fault.Conflict, "The backup that this Idempotency-Key made was deleted; use another key")
		}
	} else if err := g.send(c, cmd); err != nil {
		return state, err
	}
	before, enough := state.Revision, backup.State.Terminal
	if async {
		enough = backup.State.Exists
	}
	return await(c, g, a, before, changed, limit, func(s backup.State) (bool, error) {
		if s.Rejected != nil && s.Revision > before {
			return true, fault.Errorf(fault.Code(s.Rejected.Code), "%s", s.Rejected.Message)
		}
		return enough(s), nil
	})
}

// send sends the command of a request, unless too many jobs of its project wait
// already. What ends a job is always sent.
func (g *Gateway) send(c *fiber.Ctx, cmd events.Command) error {
	to := cmd.CommandRoute()
	if g.b.Backlog != nil && g.cfg.MaxQueued > 0 && to.Verb != backup.VerbCancel {
		n, err := g.b.Backlog(c.UserContext(), to.Pool, to.About.Project)
		if err != nil {
			return err
		}
		if n >= uint64(g.cfg.MaxQueued) {
			return fault.Errorf(fault.RateLimited, "The project %s has %d jobs that wait or run, and no more are taken; try again when some have ended", to.About.Project, n)
		}
	}
	if err := g.health(); err != nil {
		return err // nothing was sent
	}
	if g.b.Room != nil && (to.Verb == backup.VerbCreate || to.Verb == backup.VerbVerify) { // of restores too
		if err := g.b.Room(); err != nil {
			return fault.Wrap(err, fault.Unavailable, "Nothing new is taken: %v", err)
		}
	}
	return unsure(g.b.Send(c.UserContext(), cmd, cause(c)), to.About)
}

// unsure says of an error after which nobody knows whether a command was taken how to
// find out.
func unsure(err error, about events.Aggregate) error {
	if !errors.Is(err, events.ErrUnavailable) {
		return err
	}
	path := "/api/v1/backups/" + about.ID
	if about.Kind == events.KindRestore {
		path = "/api/v1/restores/" + about.ID
	}
	return fault.Wrap(err, fault.Unavailable, "The event log is out of reach. The request may have been taken, and is then carried out when the log is back: look at %s before you repeat it, or repeat it with the same Idempotency-Key", path)
}

// A request that waits bears it for a moment that the log cannot be used.
const (
	sickLimit = 2 * time.Second
	sickLook  = 500 * time.Millisecond
)

func (g *Gateway) health() error {
	if g.b.Health == nil {
		return nil
	}
	return g.b.Health()
}

// look is how often a waiting request looks by itself, should the log's tail have
// missed something.
const look = 2 * time.Second

// leftLook is how often a waiting request looks whether its client is still there.
const leftLook = 500 * time.Millisecond

// fullWait is how long a request waits while the log's disk is about to be full.
const fullWait = 3 * time.Second

// await, which is called when a command was sent, reads the state of a, at least up to
// known, until over says that it is
// enough, or limit has passed, or the client has left.
func await[S events.State[S]](c *fiber.Ctx, g *Gateway, a events.Aggregate, known events.Revision, changed <-chan struct{}, limit time.Duration, over func(S) (bool, error)) (S, error) {
	ctx, conn := c.UserContext(), c.Context().Conn()
	deadline, left := time.After(limit), time.NewTicker(leftLook)
	defer left.Stop()
	var sick time.Time // since when the log cannot be used
	for {
		state, err := fold[S](ctx, g, a, known)
		if err == nil {
			err = g.health()
		}
		switch {
		case err == nil:
			sick = time.Time{}
		case !errors.Is(err, events.ErrUnavailable) || !sick.IsZero() && time.Since(sick) > sickLimit:
			return state, unsure(err, a)
		case sick.IsZero():
			sick = time.Now()
		}
		if err != nil {
			select {
			case <-time.After(sickLook):
				continue
			case <-deadline:
				return state, unsure(err, a)
			}
		}
		if done, err := over(state); done || err != nil {
			return state, err
		}
		if !waitFor(changed, left.C, deadline, conn) {
			return state, nil
		}
	}
}

// waitFor waits until the log may have changed. It reports false when the deadline has
// passed or the client has left.
func waitFor(changed <-chan struct{}, left, deadline <-chan time.Time, conn net.Conn) bool {
	again := time.After(look)
	for {
		select {
		case <-changed:
			return true
		case <-again:
			return true
		case <-left:
			if hasLeft(conn) {
				return false
			}
		case <-deadline:
			return false
		}
	}
}

// perform sends a command about something that has an event of the revision known, if
// may allows it, and waits until over says that it is enough, or limit has passed.
func perform[S events.State[S]](c *fiber.Ctx, g *Gateway, cmd events.Command, known events.Revision, may func(S) error, limit time.Duration, over func(before, now S) (bool, error)) (now S, err error) {
	ctx, a := c.UserContext(), cmd.CommandRoute().About
	if g.b.Room != nil && g.b.Room() != nil {
		limit = min(limit, fullWait) // the queue may need room, too
	}
	limit, release, err := g.waitingPlace(c, limit, false)
	if err != nil {
		return now, err
	}
	defer release()
	changed, stop := g.b.Watch(a)
	defer stop()
	before, err := fold[S](ctx, g, a, known)
	if err == nil {
		err = may(before)
	}
	if err == nil {
		err = g.send(c, cmd)
	}
	if err != nil {
		return before, err
	}
	return await(c, g, a, known, changed, limit, func(s S) (bool, error) { return over(before, s) })
}

// fold reads an aggregate, at least up to known.
func fold[S events.State[S]](ctx context.Context, g *Gateway, a events.Aggregate, known events.Revision) (s S, err error) {
	for env, err := range events.AtLeast(g.b.Log, a, known).Read(ctx, a, 0) {
		if errors.Is(err, events.ErrBroken) {
			return s, fault.Wrap(err, fault.Conflict, "The event log has an event about %s that cannot be read, so nothing can be decided about it; the log of holdfastd says which", a.ID)
		}
		if err != nil {
			return s, err
		}
		s = s.Apply(env)
	}
	return s, nil
}

func cause(c *fiber.Ctx) events.Cause {
	return events.Cause{CorrelationID: requestIDOf(c), Actor: "key:" + keyOf(c).Name}
}

type createAnswer struct {
	Success bool        `json:"success"`
	Backup  createdView `json:"backup"`
}

func (g *Gateway) answerCreate(c *fiber.Ctx, cmd backup.Create, state backup.State, pref preference) error {
	c.Set(fiber.HeaderLocation, "/api/v1/backups/"+cmd.ID)
	if pref.said != "" {
		c.Set("Preference-Applied", pref.said)
	}
	if state.Failed != nil && !pref.async {
		// The list must know of it before the client does.
		if _, err := g.b.Catalog.Get(c.UserContext(), catalog.Get{ID: cmd.ID, Min: state.Revision}); err != nil {
			return err
		}
		return fault.Errorf(fault.BackupFailed, "Backup failed: %s", state.Failed.Message)
	}
	row := queuedBackup(cmd, time.Now(), state) // until the worker says otherwise
	if state.Exists() {
		var err error
		if row, err = g.b.Catalog.Get(c.UserContext(), catalog.Get{ID: cmd.ID, Min: state.Revision}); err != nil {
			return err
		}
	}
	status := fiber.StatusCreated
	if row.Status != catalog.Completed || pref.async {
		status = fiber.StatusAccepted
	}
	return c.Status(status).JSON(createAnswer{true, g.created(c.UserContext(), row)})
}

// deleteWait is how long a deletion may take before the client is sent away.
const deleteWait = 2 * time.Minute

// delete answers DELETE /backups/:id.
func (g *Gateway) delete(c *fiber.Ctx) error {
	b, err := g.find(c)
	if err != nil {
		return err
	}
	if b.Restoring {
		return fault.Errorf(fault.Conflict, "The backup is being restored; it can be deleted when that has ended")
	}
	cmd := backup.Delete{ID: b.ID, Project: b.Project, Pool: b.Pool, Known: b.Revision}
	limit, why := deleteWait, "has not done it yet"
	if !g.alive(c.UserContext(), backup.Service, b.Pool) {
		limit, why = acceptWait, "does it as soon as one is running; there is none now"
	}
	state, err := perform(c, g, cmd, b.Revision, backup.Deletable, limit, func(before, s backup.State) (bool, error) {
		switch {
		case s.Deleted:
			return true, nil
		case s.Undeleted != nil && s.Revision > before.Revision:
			return true, fault.Errorf(fault.Unavailable, "The backup could not be deleted: %s", s.Undeleted.Message)
		}
		return false, backup.Deletable(s)
	})
	if err != nil {
		return err
	}
	if !state.Deleted {
		return fault.Errorf(fault.Unavailable, "The deletion is queued; a worker of the pool %s %s", b.Pool, why)
	}
	if _, err := g.b.Catalog.Get(c.UserContext(), catalog.Get{ID: b.ID, Min: state.Revision}); fault.CodeOf(err) != fault.BackupNotFound {
		return err
	}
	return c.JSON(struct {
		Success bool   `json:"success"`
		Message string `json:"message"`
	}{true, "Backup deleted"})
}
