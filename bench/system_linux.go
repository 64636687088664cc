package main

import (
	"io/fs"
	"syscall"
	"time"
)

// preciseSleep waits to within some ten microseconds, where the timers of Go are a
// millisecond late. It may return early.
func preciseSleep(d time.Duration) {
	wait := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&wait, nil) // the caller looks at the clock
}

// allocated returns the bytes that a file takes on the disk: more than its size if room was
// set aside for what follows, less if it has holes.
func allocated(info fs.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Blocks * 512
	}
	return info.Size()
}
