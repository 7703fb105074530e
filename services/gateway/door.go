package gateway

import (
	"errors"
	"net"
	"os"
	"slices"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
)

// methodOther stands for every method that is not in RFC 9110, so that such a request
// gets the answer of its route: 401, 404, or 405 with Allow.
const methodOther = "OTHER"

// localMethod keeps the method that methodOther stands for.
const localMethod = "method"

func methods() []string {
	return append(slices.Clip(fiber.DefaultMethods), methodOther)
}

// guard makes the HTTP server refuse what is not well-formed, and answer in JSON where
// no route does.
func (g *Gateway) guard() {
	srv := g.app.Server()
	route := srv.Handler
	srv.Handler = func(fctx *fasthttp.RequestCtx) {
		h := &fctx.Request.Header
		if err := wellFormed(h); err != nil {
			g.refuse(fctx, err)
			return
		}
		if method := string(h.Method()); !slices.Contains(fiber.DefaultMethods, method) {
			fctx.SetUserValue(localMethod, method)
			h.SetMethod(methodOther)
		}
		route(fctx)
	}
	srv.HeaderReceived = func(h *fasthttp.RequestHeader) (limits fasthttp.RequestConfig) {
		if g.keyOfHeader(h) != nil {
			limits.MaxRequestBodySize = keylessBody
		}
		return limits
	}
	srv.ErrorHandler = func(fctx *fasthttp.RequestCtx, err error) {
		// Of a chunked body the server has forgotten the header.
		if h := &fctx.Request.Header; errors.Is(err, fasthttp.ErrBodyTooLarge) && len(h.Host()) > 0 {
			if keyErr := g.keyOfHeader(h); keyErr != nil {
				g.refuse(fctx, keyErr)
				return
			}
		}
		g.refuse(fctx, parseFault(err))
	}
	srv.SecureErrorLogMessage = true // the server's own texts quote the request, keys too
}

// keylessBody is how large a body may be without a valid API key. The server keeps
// memory for a body before the request is routed, and strangers may not fill it.
const keylessBody = 16 << 10

// keyOfHeader returns why a request has no valid API key, or nil.
func (g *Gateway) keyOfHeader(h *fasthttp.RequestHeader) error {
	_, err := g.keyIn(string(h.Peek(headerKey)), string(h.Peek(fiber.HeaderAuthorization)))
	return err
}

// parseFault says why the HTTP server could not read a request.
func parseFault(err error) error {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return fiber.ErrRequestTimeout
	}
	switch {
	case errors.Is(err, fasthttp.ErrTimeout), errors.Is(err, os.ErrDeadlineExceeded):
		return fiber.ErrRequestTimeout
	case errors.As(err, new(*fasthttp.ErrSmallBuffer)):
		return fiber.ErrRequestHeaderFieldsTooLarge
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return fiber.ErrRequestEntityTooLarge
	}
	return fiber.ErrBadRequest
}

// refuse answers a request that no route has seen, and ends its connection: where the
// next request would begin is not certain.
func (g *Gateway) refuse(fctx *fasthttp.RequestCtx, err error) {
	c := g.app.AcquireCtx(fctx)
	defer g.app.ReleaseCtx(c)
	_ = g.answerError(c, err) // the answer is encoded JSON, which does not fail
	fctx.Response.Header.SetConnectionClose()
	if cc, ok := connOf(fctx.Conn()); ok {
		cc.linger()
	}
	status, _, reason := describeError(err)
	g.metrics.requests.WithLabelValues(methodOther, "none", statusClass(status)).Inc()
	g.cfg.Logger.Warn("request refused", zap.Int("status", status), zap.String("reason", reason),
		zap.String("request_id", requestIDOf(c)), zap.String("remote", c.IP()))
}
