//go:build unix

package folder

import (
	"io/fs"
	"syscall"
)

// sameFile is os.SameFile for what Pebble tells of a file, too.
func sameFile(a, b fs.FileInfo) bool {
	x, known := a.Sys().(*syscall.Stat_t)
	y, alike := b.Sys().(*syscall.Stat_t)
	return known && alike && x.Dev == y.Dev && x.Ino == y.Ino
}

// othersMay reports whether others than its owner may use a file.
func othersMay(mode fs.FileMode) bool { return mode.Perm()&0o077 != 0 }

// othersMayEnter reports whether others than its owner may open what is in a folder.
func othersMayEnter(mode fs.FileMode) bool { return mode.Perm()&0o011 != 0 }
