//go:build !linux

package main

import (
	"io/fs"
	"net"
)

// socketConfig makes Unix sockets that have what the umask leaves, until their permission is
// set: these systems have no way to say it before.
func socketConfig(fs.FileMode) *net.ListenConfig { return &net.ListenConfig{} }
