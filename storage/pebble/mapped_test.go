package pebble

import (
	"bytes"
	"math/rand/v2"

	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
)

// mapped is the mark of the log of a store in a file system in memory.
type mapped struct{ b []byte }

func (m *mapped) open(_ string, size int) (*wal.Mapping, error) {
	if m.b == nil {
		m.b = make([]byte, size)
	}
	return &wal.Mapping{Bytes: m.b, Close: func() error { return nil }}, nil
}

// clone returns what is in the file after the end of the process, at any moment: the log may write
// to it meanwhile, and one of its slots may be half written.
//
//go:norace
func (m *mapped) clone() *mapped {
	b := make([]byte, len(m.b))
	//lint:ignore S1001 copy tells the race detector, whatever the function says
	for i := range m.b {
		b[i] = m.b[i]
	}
	return &mapped{b}
}

// anotherBoot is Options.bootID of a start after a power cut.
const anotherBoot = 7

// torn returns the file after the machine has started anew: as it is, or as it was before. Whoever
// opens it sets anotherBoot.
func (m *mapped) torn(before *mapped, share int, rng *rand.Rand) *mapped {
	if rng.IntN(100) >= share {
		m = before
	}
	return &mapped{bytes.Clone(m.b)}
}
