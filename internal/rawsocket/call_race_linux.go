//go:build race

package rawsocket

import "syscall"

// quickCall reads or writes b, which is not empty, by the calls that the race detector knows. If
// err is not zero, n is.
func quickCall(trap, fd uintptr, b []byte) (n int, err syscall.Errno) {
	call := syscall.Read
	if trap == syscall.SYS_WRITE {
		call = syscall.Write
	}
	for {
		n, err := call(int(fd), b)
		errno, _ := err.(syscall.Errno) // package syscall returns no other error here
		switch errno {
		case 0:
			return n, 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
