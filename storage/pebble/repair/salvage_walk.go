package repair

import (
	"bytes"
	"cmp"
	"context"

	"fmt"

	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
)

// found is what can be read of one record. It is valid only inside the function it was
// handed to.
type found struct {
	place    layout.HashSlot
	name     []byte
	hasEntry bool
	hasValue bool
	lost     bool // the half that is missing lies in a gap
	short    bool // the key has no position
	rawEntry []byte
	value    []byte
	entry    layout.Header // rawEntry, if decoded
	decoded  bool
}

// state is what is wrong with a record, if anything.
type state int

const (
	whole       state = iota
	entryLost         // the value can be read, the entry lies in a gap
	valueLost         // the entry can be read, the value lies in a gap
	noEntry           // there is only a value
	noValue           // there is only an entry
	undecodable       // the entry is none
	newerEntry        // the entry was written by a newer version
	resized           // the value has another size than the entry says
	misplaced         // the position is not the hash of the name
	badName           // the key is too short to have a position
)

// walked is how many records pass between two looks at the context.
const walked = 1024

// walk calls fn for each record of which at least one half can be read, in order. It
// returns what could not be read of the entries and of the values. Entries and values lie
// in the same order, so walking along both takes no memory.
func (s *salvage) walk(ctx context.Context, fn func(*found) error) (entries, values []gap, err error) {
	e, v := s.cursor(layout.PrefixHeader, 0), s.cursor(layout.PrefixValue, 0)
	defer e.close()
	defer v.close()
	moreE, moreV := e.next(), v.next()
	for n := 0; moreE || moreV; n++ {
		if n%walked == 0 && ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		order := compareHalves(e, v, moreE, moreV)
		var f found
		if order <= 0 {
			f.take(e.key())
			f.hasEntry, f.rawEntry = true, e.value()
		}
		if order >= 0 {
			f.take(v.key())
			f.hasValue, f.value = true, v.value()
		}
		f.lost = order < 0 && v.covers(uint64(f.place)) || order > 0 && e.covers(uint64(f.place))
		if err := fn(&f); err != nil {
			return nil, nil, err
		}
		if order <= 0 {
			moreE = e.next()
		}
		if order >= 0 {
			moreV = v.next()
		}
	}
	if e.failed != nil || v.failed != nil {
		return nil, nil, fmt.Errorf("read records: %w", cmp.Or(e.failed, v.failed))
	}
	return e.gaps, v.gaps, nil
}

// compareHalves returns which cursor stands at the lower record: -1 for e, 1 for v, 0 for
// both.
func compareHalves(e, v *cursor, moreE, moreV bool) int {
	switch {
	case !moreV:
		return -1
	case !moreE:
		return 1
	}
	return bytes.Compare(e.key()[1:], v.key()[1:])
}

// take sets place and name from the key of one half.
func (f *found) take(key []byte) {
	f.place = layout.HashSlot(positionOf(key))
	f.name = key[min(len(key), 1+layout.SlotSize):]
	f.short = len(key) < 1+layout.SlotSize
}

// judge decodes the entry and returns the first thing that is wrong with the record.
func (f *found) judge(h *head) state {
	if f.short {
		return badName
	}
	if f.hasEntry {
		x, err := layout.DecodeHeader(f.rawEntry)
		if err != nil && len(f.rawEntry) > 0 && f.rawEntry[0] > layout.HeaderVersion {
			return newerEntry
		}
		if err != nil {
			return undecodable
		}
		f.entry, f.decoded = x, true
	}
	switch {
	case !f.hasEntry && f.lost:
		return entryLost
	case !f.hasEntry:
		return noEntry
	case !f.hasValue && f.lost:
		return valueLost
	case !f.hasValue:
		return noValue
	case h.Knows(tree.Seed) && h.Seed.Hash(f.name) != f.place.Hash():
		return misplaced
	case int(f.entry.Size) != len(f.value):
		return resized
	}
	return whole
}
