//go:build !linux

package main

import (
	"io/fs"
	"net"
)

// socketConfig makes Unix sockets. These systems cannot set a permission in advance, so until it is set
// the umask decides.
func socketConfig(fs.FileMode) *net.ListenConfig { return &net.ListenConfig{} }
