//go:build !unix

package pebble

// tableFiles returns the largest number: these systems have no limit.
func tableFiles() int { return maxTableFiles }
