package testenv

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
)

// TCPProxy stands before a server and spoils what passes through it. Until it is
// told otherwise it passes everything on.
type TCPProxy struct {
	Addr string // host:port

	mu       sync.Mutex
	changed  chan struct{} // closed when a setting changes
	held     bool
	budget   int // bytes that the server may still send; negative: any number
	old, new []byte
}

// ProxyTCP puts a proxy before the server at target. It ends with the test.
func ProxyTCP(tb testing.TB, target string) *TCPProxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &TCPProxy{Addr: l.Addr().String(), changed: make(chan struct{}), budget: -1}
	ctx, cancel := context.WithCancel(context.Background())
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close() // it sees that
				continue
			}
			context.AfterFunc(ctx, func() { _, _ = client.Close(), server.Close() }) // ends the copies
			conns.Go(func() { p.pass(ctx, client, server, false) })
			conns.Go(func() { p.pass(ctx, server, client, true) })
		}
	})
	tb.Cleanup(func() {
		cancel()
		_ = l.Close()
		conns.Wait()
	})
	return p
}

// Hold stops all bytes in both directions, as a server that hangs does.
func (p *TCPProxy) Hold() { p.set(func() { p.held = true }) }

// CutAfter lets the server send n more bytes and then stops all that it sends.
func (p *TCPProxy) CutAfter(n int) { p.set(func() { p.budget = n }) }

// Rewrite replaces old by replacement in what clients send.
func (p *TCPProxy) Rewrite(old, replacement string) {
	p.set(func() { p.old, p.new = []byte(old), []byte(replacement) })
}

// Pass ends Hold, CutAfter and Rewrite.
func (p *TCPProxy) Pass() { p.set(func() { p.held, p.budget, p.old = false, -1, nil }) }

func (p *TCPProxy) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

// pass copies until either end closes.
func (p *TCPProxy) pass(ctx context.Context, from, to net.Conn, fromServer bool) {
	defer from.Close()
	defer to.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		for rest := b[:n]; len(rest) > 0; {
			now, left := p.allowed(ctx, rest, fromServer)
			if _, err := to.Write(now); err != nil || now == nil {
				return
			}
			rest = left
		}
		if err != nil {
			return // the other end sees it
		}
	}
}

// allowed waits until some of b may pass and returns that, and what is left; nil
// when ctx has ended.
func (p *TCPProxy) allowed(ctx context.Context, b []byte, fromServer bool) (now, left []byte) {
	for {
		p.mu.Lock()
		changed, n := p.changed, len(b)
		if fromServer && p.budget >= 0 {
			n = min(n, p.budget)
			p.budget -= n
		}
		if p.held {
			n = 0
		}
		if n > 0 {
			now, left = b[:n], b[n:]
			if !fromServer && p.old != nil {
				now = bytes.ReplaceAll(now, p.old, p.new)
			}
			p.mu.Unlock()
			return now, left
		}
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil
		}
	}
}
