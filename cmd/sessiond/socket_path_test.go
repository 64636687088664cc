package main

import (
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Ensure that a path where no socket can be made is answered with the reason and with what to do.
func TestSocketError(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err  error
		want string
	}{
		{syscall.ENOENT, "there is no folder a/b: make it, or choose another path"},
		{&fs.PathError{Op: "lstat", Path: "a/b/s", Err: syscall.ENOTDIR}, "a/b is not a folder: choose another path"},
		{syscall.EACCES, "this user may not make or replace a socket in a/b: change the owner or the mode of the folder, or choose another path"},
		{syscall.EROFS, "read-only file system"},
	}
	for _, tt := range tests {
		if got := socketError("a/b/s", tt.err); got.Error() != tt.want {
			t.Errorf("%v: %q, want %q", tt.err, got, tt.want)
		}
	}
}

// Ensure that the limit is the system's: one byte more is refused before it is asked.
func TestCheckSocketPath(t *testing.T) {
	t.Parallel()
	path := strings.Repeat("s", maxSocketPath)
	if err := checkSocketPath(path); err != nil {
		t.Errorf("%d bytes: %v", len(path), err)
	}
	path = filepath.Join(t.TempDir(), path)
	_, err := listenUnix(path, 0o700)
	if err == nil || !strings.HasPrefix(err.Error(), "the path has ") {
		t.Errorf("%d bytes: %v, want a refusal that tells both lengths", len(path), err)
	}
}
