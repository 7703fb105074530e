package gateway

import (
	"errors"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
)

// maxIdempotencyKey is how many characters an Idempotency-Key may have.
const maxIdempotencyKey = 255

// idempotencyKey returns the header of that name, or "" if there is none.
func idempotencyKey(c *fiber.Ctx) (string, error) {
	all := c.Request().Header.PeekAll("Idempotency-Key")
	if len(all) == 0 {
		return "", nil
	}
	key := string(all[0])
	isOther := func(r rune) bool { return r < ' ' || r > '~' }
	if key == "" || len(key) > maxIdempotencyKey || strings.ContainsFunc(key, isOther) {
		return "", fault.Errorf(fault.Invalid, "The header Idempotency-Key must have 1 to %d printable ASCII characters", maxIdempotencyKey)
	}
	return key, nil
}

// claimed is the state of an Idempotency-Key.
type claimed struct{ fingerprint string }

// Apply implements [events.State].
func (s claimed) Apply(env events.Envelope) claimed {
	if e, ok := env.Event.(events.RequestClaimed); ok {
		return claimed{e.Fingerprint}
	}
	return s
}

// claim binds the Idempotency-Key of a request, if it has one, to its route, the
// project that it changes, and its body. The log decides which of two requests was
// first, so that no key ever has two effects.
func (g *Gateway) claim(c *fiber.Ctx, project, bodyHash string) error {
	key, err := idempotencyKey(c)
	if err != nil || key == "" {
		return err
	}
	mine := hashOf([]string{c.Method(), c.Route().Path, c.Params("id"), project, bodyHash})
	_, err = events.Update(c.UserContext(), g.b.Log, events.RequestAggregate(keyOf(c).Hash, key), cause(c), func(s claimed) (events.Event, error) {
		switch s.fingerprint {
		case "":
			return events.RequestClaimed{Fingerprint: mine}, nil
		case mine:
			return nil, events.ErrNoChange
		}
		return nil, fault.Errorf(fault.IdempotencyMismatch, "This Idempotency-Key was used for another request")
	})
	switch {
	case errors.Is(err, events.ErrNoChange):
		return nil
	case errors.Is(err, events.ErrBroken):
		return fault.Wrap(err, fault.Conflict, "The event log cannot read which request this Idempotency-Key belongs to; use another key")
	}
	return err
}
