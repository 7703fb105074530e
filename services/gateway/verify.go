package gateway

import (
	"github.com/gofiber/fiber/v2"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/catalog"
)

type verifyAnswer struct {
	Success      bool              `json:"success"`
	Verification *verificationView `json:"verification,omitempty"` // absent while it goes on
}

// verify answers POST /backups/:id/verify. That the archive was found damaged is
// no failure of the request: the answer says so.
func (g *Gateway) verify(c *fiber.Ctx) error {
	b, err := g.find(c)
	if err != nil {
		return err
	}
	ctx, cmd := c.UserContext(), backup.Verify{ID: b.ID, Project: b.Project, Pool: b.Pool}
	a := cmd.CommandRoute().About
	release, err := g.wait()
	if err != nil {
		return err
	}
	defer release()
	changed, stop := g.b.Watch(a)
	defer stop()
	before, err := fold[backup.State](ctx, g, a)
	if err != nil {
		return err
	}
	if err := backup.Readable(before); err != nil {
		return err
	}
	if err := g.b.Send(ctx, cmd, cause(c)); err != nil {
		return err
	}
	pref := prefer(c, g.cfg.MaxWait)
	if pref.said != "" {
		c.Set("Preference-Applied", pref.said)
	}
	c.Set(fiber.HeaderLocation, "/api/v1/backups/"+b.ID)
	if pref.async {
		return c.Status(fiber.StatusAccepted).JSON(verifyAnswer{Success: true})
	}
	done := events.Revision(0)
	_, err = await(ctx, g, a, changed, pref.wait, func(s backup.State) (bool, error) {
		if s.Verified > before.Revision {
			done = s.Verified
		}
		return done > 0, backup.Readable(s)
	})
	if err != nil {
		return err
	}
	if done == 0 {
		return c.Status(fiber.StatusAccepted).JSON(verifyAnswer{Success: true})
	}
	row, err := g.b.Catalog.Get(ctx, catalog.Get{ID: b.ID, Min: done})
	if err != nil {
		return err
	}
	return c.JSON(verifyAnswer{true, view(row).Verification})
}
