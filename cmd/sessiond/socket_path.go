package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
)

// maxSocketPath is how many bytes the path of a Unix socket may have: 107 on Linux, 103 on
// macOS and the BSDs. One more is for the zero behind it.
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// socketPath returns a path that means a file to package net, which would read @name as an abstract
// name of Linux.
func socketPath(path string) string {
	if strings.HasPrefix(path, "@") {
		return "./" + path
	}
	return path
}

// checkSocketPath refuses a path for which the system would return "invalid argument".
func checkSocketPath(path string) error {
	if len(path) <= maxSocketPath {
		return nil
	}
	return fmt.Errorf("the path has %d bytes, and that of a socket may have %d on this system: "+
		"choose a shorter one, or a relative one", len(path), maxSocketPath)
}

// socketError adds advice to the error for a path where the system cannot make a socket.
func socketError(path string, err error) error {
	folder := filepath.Dir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no folder %s: make it, or choose another path", folder)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s is not a folder: choose another path", folder)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("this user may not make or replace a socket in %s: "+
			"change the owner or the mode of the folder, or choose another path", folder)
	}
	return err
}
