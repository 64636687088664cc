//go:build unix

package server

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cpuSeconds returns the processor time of this process, in the kernel and in user mode.
func cpuSeconds() (system, user float64) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0, 0 // INFO shows zeros
	}
	return time.Duration(r.Stime.Nano()).Seconds(), time.Duration(r.Utime.Nano()).Seconds()
}

// systemMemory returns what memoryInUse returns, or zeros if there is no /proc.
func systemMemory() (used, resident uint64) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, 0
	}
	fields := strings.Fields(string(text)) // in pages: size, resident, resident and shared with files
	if len(fields) < 3 {
		return 0, 0
	}
	all, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return 0, 0
	}
	shared, err := strconv.ParseUint(fields[2], 10, 64)
	if err != nil {
		return 0, 0
	}
	page := uint64(os.Getpagesize())
	return (all - min(shared, all)) * page, all * page
}
