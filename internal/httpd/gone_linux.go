package httpd

import "golang.org/x/sys/unix"

// hungUp asks the kernel for the connection's state. Unlike peeking, this also works when bytes of a pipelined request are unread.
func hungUp(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(fds, 0)
	if err != nil {
		return peeked(fd)
	}
	return n > 0 && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}
