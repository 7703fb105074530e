package gateway

import "golang.org/x/sys/unix"

// hungUp reports whether the other side of a socket has closed it. It reads nothing,
// so that data which came before the end stays where it is.
func hungUp(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
}
