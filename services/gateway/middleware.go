package gateway

import (
	"regexp"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/internal/logging"
)

const localRequestID = "request_id"

var goodRequestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// requestIDOf returns the id of a request: the client's, if it has a good one, or
// one that is made the first time.
func requestIDOf(c *fiber.Ctx) string {
	if id, ok := c.Locals(localRequestID).(string); ok {
		return id
	}
	id := c.Get(fiber.HeaderXRequestID)
	if !goodRequestID.MatchString(id) {
		id = uuid.NewString()
	}
	c.Locals(localRequestID, id)
	c.Set(fiber.HeaderXRequestID, id)
	return id
}

// accessLog writes a line for each request, apart from those of monitoring.
func (g *Gateway) accessLog(c *fiber.Ctx) error {
	begin, id := time.Now(), requestIDOf(c)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	if err := c.Next(); err != nil {
		if err := g.answerError(c, err); err != nil {
			return err
		}
	}
	status := c.Response().StatusCode()
	g.metrics.requests.WithLabelValues(c.Method(), c.Route().Path, statusClass(status)).Inc()
	switch c.Path() {
	case "/healthz", "/readyz", "/metrics":
		return nil
	}
	method := c.Method()
	if m, ok := c.Locals(localMethod).(string); ok {
		method = m
	}
	g.cfg.Logger.Info("request", zap.String("method", method), zap.String("path", brief(c.Path())), zap.Int("status", status),
		logging.Duration(time.Since(begin)), zap.String("request_id", id), zap.String("key", keyOf(c).Name), zap.String("remote", c.IP()))
	return nil
}

// briefLength is how much of a path the log keeps: a client chooses it.
const briefLength = 256

var keyInPath = regexp.MustCompile(keyPrefix + "[A-Za-z0-9]*")

// brief returns what the log keeps of a path: not all of a long one, and no key that
// somebody has put there by mistake.
func brief(path string) string {
	path = keyInPath.ReplaceAllString(path, keyPrefix+"…")
	if len(path) > briefLength {
		return path[:briefLength] + "…"
	}
	return path
}

func statusClass(status int) string { return string(rune('0'+status/100)) + "xx" }
