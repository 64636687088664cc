//go:build !linux

package main

import (
	"io/fs"
	"time"
)

// preciseSleep waits as exactly as Go can.
func preciseSleep(d time.Duration) { time.Sleep(d) }

// allocated returns the size of a file.
func allocated(info fs.FileInfo) int64 { return info.Size() }
