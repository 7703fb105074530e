package gateway

import (
	"errors"

	"github.com/gofiber/fiber/v2"
	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
)

// statusOf returns the HTTP status of a code. The linter fails if one is missing.
func statusOf(code fault.Code) int {
	//exhaustive:enforce
	switch code {
	case fault.Invalid, fault.ProjectNotFound:
		return fiber.StatusBadRequest
	case fault.Unauthenticated:
		return fiber.StatusUnauthorized
	case fault.Forbidden:
		return fiber.StatusForbidden
	case fault.BackupNotFound, fault.NotFound:
		return fiber.StatusNotFound
	case fault.MethodNotAllowed:
		return fiber.StatusMethodNotAllowed
	case fault.Conflict:
		return fiber.StatusConflict
	case fault.IdempotencyMismatch:
		return fiber.StatusUnprocessableEntity
	case fault.TooLarge:
		return fiber.StatusRequestEntityTooLarge
	case fault.UnsupportedMedia:
		return fiber.StatusUnsupportedMediaType
	case fault.BadRange:
		return fiber.StatusRequestedRangeNotSatisfiable
	case fault.BadArchive:
		return fiber.StatusBadGateway
	case fault.RateLimited:
		return fiber.StatusTooManyRequests
	case fault.Unavailable:
		return fiber.StatusServiceUnavailable
	case fault.BackupFailed, fault.RestoreFailed, fault.Internal:
		return fiber.StatusInternalServerError
	}
	return fiber.StatusInternalServerError
}

// frameworkFaults are what Fiber itself answers.
var frameworkFaults = map[int]error{
	fiber.StatusNotFound:                    fault.Errorf(fault.NotFound, "There is no such route"),
	fiber.StatusMethodNotAllowed:            fault.Errorf(fault.MethodNotAllowed, "The route does not know this method; the header Allow names those that it knows"),
	fiber.StatusRequestEntityTooLarge:       fault.Errorf(fault.TooLarge, "The body is too large: it may have 1 MiB, and 16 KiB without a valid API key"),
	fiber.StatusUnsupportedMediaType:        fault.Errorf(fault.UnsupportedMedia, "The body must be JSON"),
	fiber.StatusRequestHeaderFieldsTooLarge: fault.Errorf(fault.TooLarge, "The headers have more than 16 KiB"),
	fiber.StatusBadRequest:                  fault.Errorf(fault.Invalid, "The request is not valid HTTP"),
	fiber.StatusRequestTimeout:              fault.Errorf(fault.Invalid, "The request took too long to arrive"),
	fiber.StatusHTTPVersionNotSupported:     fault.Errorf(fault.Invalid, "The server speaks HTTP/1.1 and HTTP/1.0"),
}

// problem is the body of every error.
type problem struct {
	Success   bool       `json:"success"` // always false
	Error     string     `json:"error"`
	Code      fault.Code `json:"code"`
	RequestID string     `json:"requestId"`
}

// Seconds after which a client may try again.
const (
	retryAfter      = "5"
	retryAfterQueue = "60" // a job takes its time
)

// describeError returns what clients are told of an error.
func describeError(err error) (status int, code fault.Code, message string) {
	if fe, ok := errors.AsType[*fiber.Error](err); ok {
		if known, ok := frameworkFaults[fe.Code]; ok {
			return fe.Code, fault.CodeOf(known), fault.MessageOf(known)
		}
	}
	code, message = fault.CodeOf(err), fault.MessageOf(err)
	if damage, ok := errors.AsType[*events.DamageError](err); ok {
		code, message = fault.Unavailable, "Nothing can be written: "+damage.Error()
	} else if code == fault.Internal && errors.Is(err, events.ErrUnavailable) {
		code, message = fault.Unavailable, "The event log is out of reach; try again"
	}
	return statusOf(code), code, message
}

// answerError is the one place where errors become answers.
func (g *Gateway) answerError(c *fiber.Ctx, err error) error {
	status, code, message := describeError(err)
	if code == fault.Internal {
		message = "Internal error; the log of holdfastd says more under the request id " + requestIDOf(c)
	}
	//nolint:exhaustive // the codes that have a header of their own
	switch code {
	case fault.Unavailable:
		c.Set(fiber.HeaderRetryAfter, retryAfter)
	case fault.RateLimited:
		c.Set(fiber.HeaderRetryAfter, retryAfterQueue)
	case fault.Unauthenticated:
		c.Set(fiber.HeaderWWWAuthenticate, "Bearer")
	}
	if code == fault.Internal || errors.Unwrap(err) != nil {
		g.cfg.Logger.Error("request failed", zap.String("request_id", requestIDOf(c)), zap.String("code", string(code)), zap.Error(err))
	}
	return c.Status(status).JSON(problem{Error: message, Code: code, RequestID: requestIDOf(c)})
}
