//go:build unix

package main

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// Ensure that other users cannot connect to a socket from its first moment on, and that the socket has
// the permission that was asked for, with any umask. It is not parallel: the umask is the
// process'.
func TestListenUnix_Umask(t *testing.T) {
	for _, mask := range []int{0, 0o022, 0o077} {
		before := syscall.Umask(mask)
		defer syscall.Umask(before)
		path := filepath.Join(t.TempDir(), "s")
		if runtime.GOOS == "linux" {
			ln, err := socketConfig(0o600).Listen(t.Context(), "unix", path)
			if err != nil {
				t.Fatal(err)
			}
			checkMode(t, path, 0o600)
			ln.Close()
		}
		for _, perm := range []os.FileMode{0o600, 0o770, 0o777} {
			ln, err := listenUnix(path, perm)
			if err != nil {
				t.Fatal(err)
			}
			checkMode(t, path, perm)
			ln.Close()
		}
	}
}

func checkMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != want {
		t.Errorf("the socket has the mode %v, want %v: %v", info.Mode(), want, err)
	}
}
