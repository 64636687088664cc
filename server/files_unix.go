//go:build unix

package server

import "syscall"

// openFiles returns how many files and sockets the process may have open, or 0 if that is not
// known. The Go runtime has raised the limit to the hard limit already.
func openFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(uint64(limit.Cur), 1<<30)) // the type of Cur differs between systems
}
