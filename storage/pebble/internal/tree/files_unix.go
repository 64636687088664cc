//go:build unix

package tree

import "syscall"

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
