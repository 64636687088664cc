//go:build !unix

package tree

// tableFiles returns the largest number: these systems have no limit.
func tableFiles() int { return maxTableFiles }
