package gateway

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/holdfast-dev/holdfast/internal/fault"
)

// query returns a query parameter, or "". One that is there twice is refused: which
// of them counts is uncertain.
func query(c *fiber.Ctx, name string) (string, error) {
	all := c.Context().QueryArgs().PeekMulti(name)
	switch len(all) {
	case 0:
		return "", nil
	case 1:
		return string(all[0]), nil
	}
	return "", fault.Errorf(fault.Invalid, "%s is there twice", name)
}

// oneOf returns a query parameter that must be one of some words, or "".
func oneOf(c *fiber.Ctx, name string, allowed []string) (string, error) {
	v, err := query(c, name)
	if err != nil || v == "" || slices.Contains(allowed, v) {
		return v, err
	}
	return "", fault.Errorf(fault.Invalid, "%s must be one of %s", name, strings.Join(allowed, ", "))
}

// number returns a query parameter between low and high.
func number(c *fiber.Ctx, name string, def, low, high int) (int, error) {
	v, err := query(c, name)
	if err != nil || v == "" {
		return def, err
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
	v, err := query(c, name)
	if err != nil || v == "" {
		return time.Time{}, err
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

// limit returns how long the request may wait: for the end of its work, or, when it is
// asynchronous, to hear that it was accepted.
func (p preference) limit() time.Duration {
	if p.async {
		return acceptWait
	}
	return p.wait
}

// prefer reads the header Prefer. Preferences that cannot be understood are
// ignored, as the RFC wants.
func prefer(c *fiber.Ctx, most time.Duration) preference {
	p := preference{wait: most}
	for v := range strings.SplitSeq(headerList(c, "Prefer"), ",") {
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
