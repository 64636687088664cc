//go:build !linux

package rawsocket

import (
	"io"
	"net"
)

// newSocket returns what nc is to be read and written by.
func newSocket(nc net.Conn) io.ReadWriter { return nc }
