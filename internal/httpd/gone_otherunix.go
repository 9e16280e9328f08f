//go:build unix && !linux

package httpd

// hungUp can only peek here: other systems lack Linux's POLLRDHUP.
func hungUp(fd int) bool { return peeked(fd) }
