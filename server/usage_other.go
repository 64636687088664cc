//go:build !unix

package server

// cpuSeconds is not known here.
func cpuSeconds() (system, user float64) { return 0, 0 }

// systemMemory is not known here.
func systemMemory() (used, resident uint64) { return 0, 0 }
