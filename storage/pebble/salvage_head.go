package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
	"github.com/sessiond/sessiond/ttl"
)

// head is what exists once in a store, as far as it can be read.
type head struct {
	seed     layout.Seed
	fence    ttl.Instant
	seen     ttl.Instant
	followed wal.LSN
	revision uint64 // no higher one was used
	spaces   layout.PhysicalDBs
	counts   map[uint16]storage.Count

	// What could be read, or is rightly absent.
	seedKnown, fenceKnown, followedKnown, revisionKnown, spacesKnown, countsKnown bool

	problems []Problem
	other    error // the store is of another format
}

// readHead reads the head key by key, so that one that is lost does not take the others
// with it.
func (s *salvage) readHead() {
	h := &s.head
	if b, ok := s.number(layout.KeyFormat, 4, "format", "the version of the format", true); ok {
		h.other = layout.CheckFormat(binary.BigEndian.Uint32(b))
	}
	b, ok := s.number(layout.KeySeed, 16, "seed", "the key of the hash that gives each session its position", true)
	if h.seedKnown = ok; ok {
		h.seed = layout.Seed{K0: binary.BigEndian.Uint64(b), K1: binary.BigEndian.Uint64(b[8:])}
	}
	b, ok = s.number(layout.KeyFence, 8, "fence", "the time up to which ended sessions are swept", false)
	if h.fenceKnown = ok; ok && b != nil {
		h.fence = ttl.Instant(binary.BigEndian.Uint64(b))
	}
	if b, ok = s.number(layout.KeyClock, 8, "clock", "the time to which the clock had come", false); ok && b != nil {
		h.seen = ttl.Instant(binary.BigEndian.Uint64(b))
	}
	b, ok = s.number(layout.KeyFollowed, 8, "followed", "up to where the log was followed", true)
	if h.followedKnown = ok; ok {
		h.followed = wal.LSN(binary.BigEndian.Uint64(b))
	}
	b, ok = s.number(layout.KeyRevision, 8, "revision", "the highest revision in use", true)
	if h.revisionKnown = ok; ok {
		h.revision = binary.BigEndian.Uint64(b)
	}
	s.readSpaces()
	s.readCounts()
}

// number reads one key of the head. ok is true and b nil if it is absent and may be.
func (s *salvage) number(key []byte, size int, where, what string, must bool) (b []byte, ok bool) {
	value, closer, err := s.db.Get(key)
	if errors.Is(err, pebbledb.ErrNotFound) {
		if must {
			s.head.problem(where, what+" is missing")
		}
		return nil, !must
	}
	if err != nil {
		s.head.problem(where, what+" cannot be read")
		return nil, false
	}
	b = append([]byte(nil), value...)
	_ = closer.Close() // b was read
	if len(b) != size {
		s.head.problem(where, fmt.Sprintf("%s has %d bytes, not %d", what, len(b), size))
		return nil, false
	}
	return b, true
}

func (h *head) problem(where, what string) {
	h.problems = append(h.problems, Problem{where, what, adviceRepair})
}

func (s *salvage) readSpaces() {
	h := &s.head
	moved, used := layout.PhysicalDBs{}, map[uint16]bool{}
	valid := true
	err := s.engine().eachNumbered(layout.KeyPhysicalDB, func(db uint16, value []byte) error {
		if len(value) != 2 {
			valid = false
			return nil
		}
		space := binary.BigEndian.Uint16(value)
		valid = valid && space != db && !used[space]
		moved[db], used[space] = space, true
		return nil
	})
	for space := range used {
		_, gave := moved[space]
		valid = valid && gave
	}
	switch {
	case err != nil:
		h.problem("databases", "which of them were swapped cannot be read: their sessions may show under another number")
	case !valid:
		h.problem("databases", "two of them share their sessions, or one has none: the swaps make no sense")
	default:
		h.spaces, h.spacesKnown = moved, true
	}
}

// engine returns enough of an engine to read what exists once for each number, and to make changes
// again.
func (s *salvage) engine() *Engine {
	e := newEngine(Options{Logger: slog.New(slog.DiscardHandler), recordBytes: -1}, nil)
	e.db = s.db
	return e
}

func (s *salvage) readCounts() {
	h := &s.head
	h.counts = map[uint16]storage.Count{}
	err := s.engine().eachNumbered(layout.KeyCount, func(space uint16, value []byte) (err error) {
		h.counts[space], err = layout.DecodeCount(value)
		return err
	})
	if h.countsKnown = err == nil; err != nil {
		h.problems = append(h.problems, Problem{"counters", "the sizes of the databases cannot be read", adviceRebuild})
	}
}
