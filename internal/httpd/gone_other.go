//go:build !unix

package httpd

import "net"

// gone can't tell on this platform: a request whose client has gone runs to its end.
func gone(net.Conn) bool { return false }
