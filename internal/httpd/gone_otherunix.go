//go:build unix && !linux

package httpd

func hungUp(fd int) bool { return peeked(fd) }
