//go:build !unix

package server

// cpuSeconds is not known on these systems.
func cpuSeconds() (system, user float64) { return 0, 0 }

// systemMemory is not known on these systems.
func systemMemory() (used, resident uint64) { return 0, 0 }
