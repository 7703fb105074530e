package gateway

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/internal/fault"
)

// maxConns is how many connections there are at a time. Each takes a descriptor, and
// backups need descriptors too. Addresses share them, see [places].
const maxConns = 4096

// listener accepts connections, a limited number at a time. It outlives a moment in
// which the process has no descriptors left.
type listener struct {
	net.Listener
	places *places
	stall  time.Duration // see conn
	plain  bool          // no TLS, so that a refusal can be written
	log    *zap.Logger
	told   time.Time // when a refusal was last logged
	toldOf time.Time // when a shortage was last logged
}

// acceptPause is how long Accept waits after the system had no descriptors.
const acceptPause = 200 * time.Millisecond

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if isShortage(err) {
			l.short(err)
			<-time.After(acceptPause)
			continue
		}
		if err != nil {
			return nil, err
		}
		if release, _, ok := l.places.take(network(c.RemoteAddr())); ok {
			return &conn{Conn: c, release: release, stall: l.stall}, nil
		}
		l.refuse(c)
	}
}

// network returns what one client is likely to have: an address, of IPv6 the first 64
// bits of one.
func network(a net.Addr) string {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return a.String()
	}
	if t.IP.To4() == nil {
		return t.IP.Mask(net.CIDRMask(64, 128)).String()
	}
	return t.IP.String()
}

func isShortage(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.ECONNABORTED)
}

// short says now and then why connections cannot be accepted.
func (l *listener) short(err error) {
	if time.Since(l.toldOf) <= time.Minute {
		return
	}
	l.toldOf = time.Now()
	advice := "connections cannot be accepted"
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		advice += ": raise the limit of open files (LimitNOFILE)"
	}
	l.log.Warn(advice, zap.Error(err))
}

// refuse closes a connection that is one too many.
func (l *listener) refuse(c net.Conn) {
	if time.Since(l.told) > time.Minute {
		l.told = time.Now()
		l.log.Warn("connection refused: too many are open", zap.Int("limit", l.places.all), zap.String("remote", c.RemoteAddr().String()))
	}
	if l.plain {
		body, _ := json.Marshal(problem{Error: "Too many connections are open; try again", Code: fault.Unavailable, RequestID: uuid.NewString()})
		_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // it fits into the buffer of the socket
		_, _ = fmt.Fprintf(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", retryAfter, len(body), body)
	}
	_ = c.Close()
}

// conn is a connection of a client. A TLS connection lies above it.
type conn struct {
	net.Conn
	release func()
	stall   time.Duration // a client that takes nothing for so long is cut off; a slow one is kept
	lingers atomic.Bool   // see linger
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// ReadFrom implements io.ReaderFrom, so that a download goes out in larger pieces than
// the buffer of the HTTP server.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{r}, make([]byte, 64<<10))
}

// lingerTime is how long what a client still sends is read and thrown away.
const lingerTime = time.Second

// linger makes Close wait for the client to close first, for a moment. Otherwise the
// reset that follows unread data may overtake the answer to a request that was refused
// before it was read.
func (c *conn) linger() { c.lingers.Store(true) }

// Close implements net.Conn.
func (c *conn) Close() error {
	defer c.release()
	if t, ok := c.Conn.(*net.TCPConn); ok && c.lingers.Load() && t.CloseWrite() == nil && t.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.Copy(io.Discard, t)
	}
	return c.Conn.Close()
}

// connOf returns the connection below what the HTTP server knows.
func connOf(c net.Conn) (*conn, bool) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	cc, ok := c.(*conn)
	return cc, ok
}

// hasLeft reports whether a client has closed its connection, or its half of it. The
// HTTP server does not read while a request is answered, so it does not notice.
func hasLeft(c net.Conn) bool {
	cc, ok := connOf(c)
	if !ok {
		return false
	}
	s, ok := cc.Conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	left := false
	err = raw.Control(func(fd uintptr) { left = hungUp(fd) })
	return err != nil || left
}
