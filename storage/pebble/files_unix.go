//go:build unix

package pebble

import (
	"io/fs"
	"syscall"
)

// tableFiles returns how many tables the store may keep open: few enough that, with its
// other files, it gets by with half of what the process may open. A store that cannot open
// a file ends the process.
func tableFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return maxTableFiles
	}
	half := int(min(uint64(limit.Cur), 4*maxTableFiles) / 2) // of another type on some systems
	return min(max(half-otherFiles, minTableFiles), maxTableFiles)
}

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
