//go:build !unix

package folder

import "io/fs"

// sameFile cannot tell files apart by what Pebble tells of them: there are hardly any links here.
func sameFile(_, _ fs.FileInfo) bool { return true }

// othersMay knows of nobody: the mode of a file says nothing of its users here.
func othersMay(fs.FileMode) bool { return false }

func othersMayEnter(fs.FileMode) bool { return false }
