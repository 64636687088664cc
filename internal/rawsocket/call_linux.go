//go:build !race

package rawsocket

import (
	"syscall"
	"unsafe"
)

// quickCall reads or writes b, which is not empty, without a word to the scheduler. If err is
// not zero, n is.
func quickCall(trap, fd uintptr, b []byte) (n int, err syscall.Errno) {
	for {
		r, _, err := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch err {
		case 0:
			return int(r), 0
		case syscall.EINTR:
		default:
			return 0, err
		}
	}
}
