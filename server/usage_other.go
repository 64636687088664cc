//go:build !unix

package server

// cpuSeconds is not known here.
func cpuSeconds() (system, user float64) { return 0, 0 }

// residentMemory is not known here.
func residentMemory() uint64 { return 0 }
