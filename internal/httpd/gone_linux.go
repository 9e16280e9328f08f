package httpd

import "golang.org/x/sys/unix"

// hungUp asks for the state of the connection itself, which bytes of a pipelined request don't hide.
func hungUp(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(fds, 0)
	if err != nil {
		return peeked(fd)
	}
	return n > 0 && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}
