package gateway

import (
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/holdfast-dev/holdfast/internal/fault"
)

// places are a limited number of something that clients hold for a while. API keys
// share them so that none can take them all: a key gets another one only while more
// are free than it holds. So the first key that asks gets half of them, the next half
// of the rest, and so on.
type places struct {
	all  int // set once
	mu   sync.Mutex
	used int
	held map[string]int // by the hash of the key
}

// take takes a place for a key. The caller must call release once. The error says
// what there is too much of, and what else the client can do.
func (p *places) take(key, what, hint string) (release func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if held := p.held[key]; held >= p.all-p.used {
		if held > 0 {
			return nil, fault.Errorf(fault.RateLimited, "This API key has too many %s; %s", what, hint)
		}
		return nil, fault.Errorf(fault.Unavailable, "Too many %s; %s", what, hint)
	}
	if p.held == nil {
		p.held = map[string]int{}
	}
	p.used++
	p.held[key]++
	return sync.OnceFunc(func() { p.release(key) }), nil
}

func (p *places) release(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used--
	if p.held[key]--; p.held[key] == 0 {
		delete(p.held, key)
	}
}

// waitingPlace takes a place for a request that is to wait. A request that need not
// wait is never refused: without a place its limit is 0.
func (g *Gateway) waitingPlace(c *fiber.Ctx, limit time.Duration, async bool) (time.Duration, func(), error) {
	if limit <= 0 {
		return 0, func() {}, nil
	}
	release, err := g.waiting.take(keyOf(c).Hash, "requests that wait", "send Prefer: respond-async, or try again")
	if err != nil && async {
		return 0, func() {}, nil
	}
	return limit, release, err
}
