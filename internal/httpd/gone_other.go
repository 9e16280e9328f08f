//go:build !unix

package httpd

import "net"

// gone is not known here: a request whose client has gone runs to its end.
func gone(net.Conn) bool { return false }
