package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/holdfast-dev/holdfast/internal/fault"
)

// decodeBody reads a JSON object into v. A field that v does not have is an
// error: a misspelt "encrypt" must not give a plain-text backup.
func decodeBody(c *fiber.Ctx, v any) error {
	if typ := c.Get(fiber.HeaderContentType); typ != "" {
		if m, _, err := mime.ParseMediaType(typ); err != nil || m != fiber.MIMEApplicationJSON {
			return fault.Errorf(fault.UnsupportedMedia, "The body must be JSON: send it with Content-Type: application/json")
		}
	}
	d := json.NewDecoder(bytes.NewReader(c.Body()))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		return fault.Errorf(fault.Invalid, "The body must be one JSON object and nothing else")
	}
	if typ, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fault.Errorf(fault.Invalid, "The field %q must be a %s", typ.Field, typ.Type)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fault.Errorf(fault.Invalid, "The body has an unknown field %s", name)
	}
	return fault.Errorf(fault.Invalid, "The body is not a JSON object")
}

// oneOf returns a query parameter that must be one of some words, or "".
func oneOf(c *fiber.Ctx, name string, allowed []string) (string, error) {
	v := c.Query(name)
	if v == "" || slices.Contains(allowed, v) {
		return v, nil
	}
	return "", fault.Errorf(fault.Invalid, "%s must be one of %s", name, strings.Join(allowed, ", "))
}

// number returns a query parameter between low and high.
func number(c *fiber.Ctx, name string, def, low, high int) (int, error) {
	v := c.Query(name)
	if v == "" {
		return def, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		span := fmt.Sprintf("between %d and %d", low, high)
		if high == maxInt {
			span = fmt.Sprintf("%d or more", low)
		}
		return 0, fault.Errorf(fault.Invalid, "%s must be a number, %s", name, span)
	}
	return n, nil
}

const maxInt = int(^uint(0) >> 1)

// moment returns a query parameter that is a time, or the zero time.
func moment(c *fiber.Ctx, name string) (time.Time, error) {
	v := c.Query(name)
	if v == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, v)
	if err != nil {
		return t, fault.Errorf(fault.Invalid, "%s must be a time such as 2026-01-19T02:00:00Z", name)
	}
	return t, nil
}

// preference is what a client says of waiting (RFC 7240).
type preference struct {
	async bool
	wait  time.Duration
	said  string // what is applied, for Preference-Applied; "" if nothing was preferred
}

// prefer reads the header Prefer. Preferences that cannot be understood are
// ignored, as the RFC wants.
func prefer(c *fiber.Ctx, most time.Duration) preference {
	p := preference{wait: most}
	for v := range strings.SplitSeq(c.Get("Prefer"), ",") {
		v, _, _ = strings.Cut(strings.TrimSpace(v), ";")
		name, value, _ := strings.Cut(v, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "respond-async":
			p.async, p.said = true, "respond-async"
		case "wait":
			if n, ok := position(strings.Trim(strings.TrimSpace(value), `"`)); ok && p.said == "" {
				if n < int64(most/time.Second) { // else the product may overflow
					p.wait = time.Duration(n) * time.Second
				}
				p.said = "wait=" + strconv.FormatInt(n, 10)
			}
		}
	}
	return p
}

// idempotencyKey returns the header of that name, or "".
func idempotencyKey(c *fiber.Ctx) (string, error) {
	key := c.Get("Idempotency-Key")
	if len(key) > 255 {
		return "", fault.Errorf(fault.Invalid, "The header Idempotency-Key must have at most 255 characters")
	}
	return key, nil
}
