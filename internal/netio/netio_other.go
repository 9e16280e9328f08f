//go:build !linux

package netio

import "net"

func wrap(c *net.TCPConn, _ bool) (net.Conn, error) { return c, nil }
