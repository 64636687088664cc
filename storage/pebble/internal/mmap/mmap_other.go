//go:build !linux && !darwin

// Package mmap maps a file of the operating system into memory.
package mmap

import (
	"errors"

	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
)

// Map fails: these systems have no such mapping.
func Map(string, int) (*wal.Mapping, error) { return nil, errors.ErrUnsupported }

// Boot returns 0: the run of the machine is not known on these systems.
func Boot() uint64 { return 0 }
