//go:build unix

package server

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cpuSeconds returns the processor time of this process, in the system and in itself.
func cpuSeconds() (system, user float64) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0, 0 // INFO does without
	}
	return time.Duration(r.Stime.Nano()).Seconds(), time.Duration(r.Utime.Nano()).Seconds()
}

// residentMemory returns the bytes of this process that are in memory, the engine's caches
// outside the Go runtime included, or 0 where /proc does not tell.
func residentMemory() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}
