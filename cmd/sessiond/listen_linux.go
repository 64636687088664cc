package main

import (
	"io/fs"
	"net"
	"syscall"
)

// socketConfig makes Unix sockets that never have more permissions than perm, with any umask. Otherwise
// a client could connect before the permission is set, and would be served later. Linux gives the file
// the mode of the socket.
func socketConfig(perm fs.FileMode) *net.ListenConfig {
	return &net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var err error
		if controlErr := conn.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), uint32(perm.Perm())) }); controlErr != nil {
			return controlErr
		}
		return err
	}}
}
