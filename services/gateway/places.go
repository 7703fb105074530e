package gateway

import (
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/holdfast-dev/holdfast/internal/fault"
)

// places are a limited number of something that clients hold for a while. Clients,
// which are API keys or addresses, share them so that none can take them all: a client
// gets another one only while more are free than it holds. So the first that asks gets
// half of them, the next half of the rest, and so on.
type places struct {
	all  int // set once
	mu   sync.Mutex
	used int
	held map[string]int // by client
}

// take takes a place for a client, which must call release once. Without a free one,
// ok is false and held says how many the client has.
func (p *places) take(client string) (release func(), held int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if held = p.held[client]; held >= p.all-p.used {
		return nil, held, false
	}
	if p.held == nil {
		p.held = map[string]int{}
	}
	p.used++
	p.held[client]++
	return sync.OnceFunc(func() { p.release(client) }), held, true
}

// takeFor is take for an API key. The error says what there is too much of, and what
// else the client can do.
func (p *places) takeFor(k Key, what, hint string) (release func(), err error) {
	release, held, ok := p.take(k.Hash)
	switch {
	case ok:
		return release, nil
	case held > 0:
		return nil, fault.Errorf(fault.RateLimited, "This API key has too many %s; %s", what, hint)
	}
	return nil, fault.Errorf(fault.Unavailable, "Too many %s; %s", what, hint)
}

func (p *places) release(client string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used--
	if p.held[client]--; p.held[client] == 0 {
		delete(p.held, client)
	}
}

// waitingPlace takes a place for a request that is to wait. A request that need not
// wait is never refused: without a place its limit is 0.
func (g *Gateway) waitingPlace(c *fiber.Ctx, limit time.Duration, async bool) (time.Duration, func(), error) {
	if limit <= 0 {
		return 0, func() {}, nil
	}
	release, err := g.waiting.takeFor(keyOf(c), "requests that wait", "send Prefer: respond-async, or try again")
	if err != nil && async {
		return 0, func() {}, nil
	}
	return limit, release, err
}
