package gateway

import (
	"bytes"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/holdfast-dev/holdfast/internal/fault"
)

// single are the headers of which a request may have one at most. Of two the server
// and a proxy before it might each take another.
var single = map[string]bool{
	"host": true, "content-length": true, "transfer-encoding": true, "content-type": true, "content-encoding": true, "x-api-key": true,
	"authorization": true, "idempotency-key": true, "range": true, "if-range": true, "expect": true,
}

// wellFormed returns nil if a request can be read in one way only (RFC 9112), and
// otherwise what is wrong. The HTTP server takes more, and proxies may read that
// differently.
func wellFormed(h *fasthttp.RequestHeader) error {
	version := string(h.Protocol())
	if version != "HTTP/1.1" && version != "HTTP/1.0" {
		return fiber.ErrHTTPVersionNotSupported
	}
	if method := string(h.Method()); !isToken(method) || len(method) > 32 {
		return fault.Errorf(fault.Invalid, "The method of the request is not valid HTTP")
	}
	if !isTarget(h.RequestURI(), h.IsOptions()) {
		return fault.Errorf(fault.Invalid, "The address of the request must begin with one slash; spaces, control characters, # and \\ in it must be percent-encoded")
	}
	seen, err := headersOf(h.RawHeaders())
	if err != nil {
		return err
	}
	return checkFraming(h, seen, version)
}

// checkFraming refuses a request whose end is uncertain.
func checkFraming(h *fasthttp.RequestHeader, seen map[string]int, version string) error {
	chunked := seen["transfer-encoding"] > 0
	switch {
	case chunked && seen["content-length"] > 0:
		return fault.Errorf(fault.Invalid, "Content-Length and Transfer-Encoding exclude each other")
	case chunked && (version == "HTTP/1.0" || !isChunked(h)):
		return fault.Errorf(fault.Invalid, "The only Transfer-Encoding is chunked, in HTTP/1.1")
	case chunked && hasTrailers(h, seen):
		return fault.Errorf(fault.Invalid, "Headers behind the body are not taken")
	case seen["host"] == 0 && version == "HTTP/1.1" || !isHost(h.Host()):
		return fault.Errorf(fault.Invalid, "The header Host is missing or is not a name")
	}
	return nil
}

// headersOf counts the headers of a request by their names in lower case.
func headersOf(raw []byte) (map[string]int, error) {
	seen := map[string]int{}
	for line := range bytes.SplitSeq(bytes.TrimSuffix(raw, []byte("\n")), []byte("\n")) {
		line, ok := bytes.CutSuffix(line, []byte("\r"))
		if !ok && len(line) > 0 {
			return nil, fault.Errorf(fault.Invalid, "The lines of the headers must end with CR LF")
		}
		if len(line) == 0 {
			continue // the line that ends them
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isToken(string(name)) {
			return nil, fault.Errorf(fault.Invalid, "A header has no name, or one that is not valid HTTP")
		}
		if bytes.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return nil, fault.Errorf(fault.Invalid, "The header %s holds a control character", name)
		}
		key := strings.ToLower(string(name))
		if seen[key]++; seen[key] > 1 && single[key] {
			return nil, fault.Errorf(fault.Invalid, "The header %s is there twice", name)
		}
	}
	return seen, nil
}

// isChunked looks at the header as it came: the server calls every coding chunked.
func isChunked(h *fasthttp.RequestHeader) bool {
	for line := range bytes.SplitSeq(h.RawHeaders(), []byte("\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("transfer-encoding")) {
			return bytes.EqualFold(bytes.TrimSpace(value), []byte("chunked"))
		}
	}
	return false
}

// hasTrailers reports whether headers came behind the body. The server adds them to
// those before it.
func hasTrailers(h *fasthttp.RequestHeader, seen map[string]int) bool {
	if seen["trailer"] > 0 {
		return true
	}
	now := map[string]int{}
	h.VisitAll(func(key, _ []byte) { now[strings.ToLower(string(key))]++ })
	for key, n := range now {
		if n > max(seen[key], 1) || seen[key] == 0 {
			return true
		}
	}
	return false
}

// isTarget reports whether b can be the address of a request.
func isTarget(b []byte, options bool) bool {
	if options && string(b) == "*" {
		return true
	}
	if bytes.ContainsFunc(b, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' || r == '\\' }) {
		return false
	}
	s := string(b)
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "//")
}

func isToken(s string) bool {
	return s != "" && strings.Trim(s, "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == ""
}

// isHost reports whether b can be a host and a port, or is empty.
func isHost(b []byte) bool {
	return strings.Trim(string(b), "-._~%!$&'()*+,;=:[]0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == ""
}
