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
	if err := g.claim(c, b.Project, ""); err != nil {
		return err
	}
	pref := prefer(c, g.cfg.MaxWait)
	limit := pref.wait
	if pref.async {
		limit = 0
	}
	done := events.Revision(0)
	cmd := backup.Verify{ID: b.ID, Project: b.Project, Pool: b.Pool, Known: b.Revision}
	_, err = perform(c, g, cmd, b.Revision, backup.Readable, limit, func(before, s backup.State) (bool, error) {
		if s.Verified > before.Revision {
			done = s.Verified
		}
		return done > 0, backup.Readable(s)
	})
	if err != nil {
		return err
	}
	if pref.said != "" {
		c.Set("Preference-Applied", pref.said)
	}
	c.Set(fiber.HeaderLocation, "/api/v1/backups/"+b.ID)
	if done == 0 || pref.async {
		return c.Status(fiber.StatusAccepted).JSON(verifyAnswer{Success: true})
	}
	row, err := g.b.Catalog.Get(c.UserContext(), catalog.Get{ID: b.ID, Min: done})
	if err != nil {
		return err
	}
	return c.JSON(verifyAnswer{true, view(row).Verification})
}
