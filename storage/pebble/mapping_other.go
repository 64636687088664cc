//go:build !linux && !darwin

package pebble

import "errors"

// mapFile fails: there is no journal on these systems.
func mapFile(string, int) (*mapping, error) { return nil, errors.ErrUnsupported }
