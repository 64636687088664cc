// Package paths is what the library and the command do to the paths that they are given.
package paths

import "path/filepath"

// Absolute makes paths absolute, so that what is printed and logged says where they are wherever
// it is read. An empty one, which was not given, stays.
func Absolute(paths ...*string) error {
	for _, path := range paths {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = abs
	}
	return nil
}
