package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// ServeSocket lets other processes of this machine use the server by way of a Unix
// socket, until ctx ends: those of the user that it runs as. It removes a socket
// that a crashed process has left.
func (s *Server) ServeSocket(ctx context.Context, path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	addr, release, err := socketAddress(path)
	if err != nil {
		return err
	}
	defer release()
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", addr)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = l.Close() })() // ends Accept
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(err, l.Close())
	}
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		conns.Go(func() { s.join(ctx, c) })
	}
}

// join copies between a client and the server until one of them ends.
func (s *Server) join(ctx context.Context, client net.Conn) {
	server, err := s.InProcessConn()
	if err != nil {
		_ = client.Close() // it sees that
		return
	}
	end := sync.OnceFunc(func() { _, _ = client.Close(), server.Close() }) // ends both copies
	defer context.AfterFunc(ctx, end)()
	var other sync.WaitGroup
	other.Go(func() {
		defer end()
		_, _ = io.Copy(server, client) // until either ends
	})
	_, _ = io.Copy(client, server)
	end()
	other.Wait()
}

// maxSocketPath is the length of the longest path that the system takes as the address
// of a socket.
const maxSocketPath = 107

// socketAddress returns an address of the socket at path that is short enough: a longer
// path goes by way of an open folder. The caller must call release when the address is
// not used any more.
func socketAddress(path string) (addr string, release func(), err error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	addr = fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
	return addr, func() { _ = dir.Close() }, nil
}

// DialSocket connects to the socket at path, however long that is.
func DialSocket(ctx context.Context, path string) (net.Conn, error) {
	addr, release, err := socketAddress(path)
	if err != nil {
		return nil, err
	}
	defer release()
	var d net.Dialer
	return d.DialContext(ctx, "unix", addr)
}

// socketDialer dials a socket whatever the address is.
type socketDialer string

// Dial implements nats.CustomDialer.
func (d socketDialer) Dial(string, string) (net.Conn, error) {
	return DialSocket(context.Background(), string(d)) // the interface has no context
}
