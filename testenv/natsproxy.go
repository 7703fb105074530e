package testenv

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// NATSProxy stands between clients and a NATS server, reads what they publish and stops
// at a message that a test waits for. Until it is told to, it passes everything on.
type NATSProxy struct {
	URL string

	mu    sync.Mutex
	stop  *Stop
	pairs map[*natsPair]bool
}

// Stop is a message at which a [NATSProxy] stops.
type Stop struct {
	Reached chan struct{} // closed when the message has been read, and, if it passes, was stored
	passes  bool
	match   func(subject string, payload []byte) bool
}

// natsPair is a client's connection and the one to the server that belongs to it.
type natsPair struct {
	client, server net.Conn
	passed         atomic.Pointer[Stop] // whose message the server has got and not answered
	gone           chan struct{}        // closed when the connections are
	end            func()
}

// ProxyNATS puts a proxy before a NATS server. It ends with the test.
func ProxyNATS(tb testing.TB, n *NATSProcess) *NATSProxy {
	tb.Helper()
	target := strings.TrimPrefix(n.URL, "nats://")
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		tb.Fatal(err)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0")) // an address on which no client of another test looks for its server
	if err != nil {
		tb.Fatal(err)
	}
	p := &NATSProxy{URL: "nats://" + l.Addr().String(), pairs: map[*natsPair]bool{}}
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
			c := &natsPair{client: client, server: server, gone: make(chan struct{})}
			c.end = sync.OnceFunc(func() {
				close(c.gone)
				_, _ = client.Close(), server.Close()
			})
			p.mu.Lock()
			p.pairs[c] = true
			p.mu.Unlock()
			conns.Go(func() { p.publishes(c) })
			conns.Go(func() { p.answers(c) })
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		p.Break()
		conns.Wait()
	})
	return p
}

// StopBefore stops the connection on which the next message comes that matches. The
// server does not get the message, nor anything after it.
func (p *NATSProxy) StopBefore(match func(subject string, payload []byte) bool) *Stop {
	return p.arm(&Stop{match: match})
}

// StopAfter lets the next message pass that matches and that the server stores, and then
// keeps back what the server sends on its connection, beginning with the acknowledgement.
func (p *NATSProxy) StopAfter(match func(subject string, payload []byte) bool) *Stop {
	return p.arm(&Stop{match: match, passes: true})
}

func (p *NATSProxy) arm(s *Stop) *Stop {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.Reached == nil {
		s.Reached = make(chan struct{})
	}
	p.stop = s
	return s
}

// Break ends all connections. What was stopped is lost.
func (p *NATSProxy) Break() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stop = nil
	for c := range p.pairs {
		c.end()
	}
	clear(p.pairs)
}

// matches returns the stop that a message is, and takes it off.
func (p *NATSProxy) matches(subject string, payload []byte) *Stop {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stop
	if s == nil || !s.match(subject, payload) {
		return nil
	}
	p.stop = nil
	return s
}

// publishes passes on what a client sends.
func (p *NATSProxy) publishes(c *natsPair) {
	defer c.end()
	in := bufio.NewReader(c.client)
	for {
		line, payload, err := readProtocol(in)
		if err != nil {
			return
		}
		var s *Stop
		if f := strings.Fields(line); len(payload) > 0 {
			s = p.matches(f[1], payload)
		}
		if s != nil && s.passes {
			c.passed.Store(s)
		}
		if s == nil || s.passes {
			if _, err := c.server.Write(append([]byte(line), payload...)); err != nil {
				return
			}
		}
		if s != nil && !s.passes {
			close(s.Reached)
			<-c.gone
			return
		}
	}
}

// readProtocol reads a line of the protocol, and the payload that belongs to it.
func readProtocol(in *bufio.Reader) (line string, payload []byte, err error) {
	if line, err = in.ReadString('\n'); err != nil {
		return "", nil, err
	}
	f := strings.Fields(line)
	if len(f) < 3 || f[0] != "PUB" && f[0] != "HPUB" {
		return line, nil, nil
	}
	size, err := strconv.Atoi(f[len(f)-1])
	if err != nil {
		return "", nil, fmt.Errorf("%q: %w", line, err)
	}
	payload = make([]byte, size+2) // with its end of line
	_, err = io.ReadFull(in, payload)
	return line, payload, err
}

// Answers of JetStream to a message: that it is stored, and that its expectation was wrong,
// after which it comes again.
var (
	ackOfStream   = []byte(`{"stream":"`)
	wrongSequence = []byte(`"err_code":10071`)
)

// answers passes on what the server sends, until that is held.
func (p *NATSProxy) answers(c *natsPair) {
	defer c.end()
	b := make([]byte, 64<<10)
	for {
		n, err := c.server.Read(b)
		if err != nil {
			return
		}
		s := c.passed.Load()
		switch {
		case s != nil && bytes.Contains(b[:n], ackOfStream):
			close(s.Reached)
			<-c.gone
			return
		case s != nil && bytes.Contains(b[:n], wrongSequence):
			c.passed.Store(nil)
			p.arm(s)
		}
		if _, err := c.client.Write(b[:n]); err != nil {
			return
		}
	}
}
