package repair

import (
	"encoding/binary"
	"math"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
)

// cursor reads all keys under one prefix, in order, and steps over what cannot be read.
//
// Pebble's iterator fails when any of its levels meets a block that it cannot read, and a
// seek succeeds only if every level can be read where it lands. So between the last key
// before a failure and the first position at which a seek succeeds again nothing is used,
// in no level: an intact block there may hold an older version of a record, or one that was
// ended, and what says so may stand in the block that is lost. That needs no knowledge of
// Pebble's files, and tombstones stay as good as keys.
type cursor struct {
	db     *pebbledb.DB
	blame  func() // is called when something could not be read
	prefix byte
	grain  uint64 // how closely the end of a gap is looked for

	it     *pebbledb.Iterator
	last   uint64 // position of the newest key, or where to begin
	gaps   []gap
	over   bool  // nothing can be read from here on
	failed error // an error of Pebble's other than that something cannot be read
}

// A position is the first 8 bytes after the prefix: a place, or the time of an index entry.

// gap is a range of positions that cannot be read: from where the last key lies, others may
// share that position, to the first one that can be read again.
type gap struct {
	from, to uint64
	end      bool // no position can be read again, and to is none
}

func (g gap) holds(position uint64) bool {
	return g.from <= position && (g.end || position < g.to)
}

// Places are hashes, so records lie far apart; times lie close.
const (
	placeGrain = 1 << 12
	timeGrain  = 1
)

// stride is by how much the steps across a gap grow.
const stride = 4

// cursor returns a cursor that begins at a position.
func (s *salvage) cursor(prefix byte, from uint64) *cursor {
	c := &cursor{db: s.db, blame: s.view.blame, prefix: prefix, grain: placeGrain, last: from}
	if prefix == layout.PrefixIndex {
		c.grain = timeGrain
	}
	return c
}

// next goes to the next key that can be read and reports whether there is one.
func (c *cursor) next() bool {
	var ok bool
	if c.it == nil {
		ok = c.seek(c.last)
	} else {
		ok = c.it.Next()
	}
	for !ok && !c.over && c.failed == nil && c.it.Error() != nil {
		ok = c.skip()
	}
	if ok {
		c.last = positionOf(c.it.Key())
	}
	return ok
}

// positionOf returns the position of a key, as far as it has one.
func positionOf(key []byte) uint64 {
	var b [8]byte
	copy(b[:], key[1:])
	return binary.BigEndian.Uint64(b[:])
}

func (c *cursor) key() []byte   { return c.it.Key() }
func (c *cursor) value() []byte { return c.it.Value() }

// seek goes to the first key at a position or after it. A new iterator remembers nothing of
// a failure.
func (c *cursor) seek(position uint64) bool {
	if c.close(); c.failed != nil {
		return false
	}
	it, err := c.db.NewIter(&pebbledb.IterOptions{
		LowerBound: binary.BigEndian.AppendUint64([]byte{c.prefix}, position),
		UpperBound: []byte{c.prefix + 1},
	})
	if err != nil {
		c.failed = err
		return false
	}
	c.it = it
	return it.First()
}

// skip notes the gap behind the last key and goes to the first key after it. Steps that grow
// find a position that can be read; halving the last step finds the first one.
func (c *cursor) skip() bool {
	c.blame()
	bad, step := c.last, c.grain
	for {
		if bad > math.MaxUint64-step || step > math.MaxUint64/stride {
			c.over = true
			c.gaps = append(c.gaps, gap{from: c.last, end: true})
			return false
		}
		if c.readable(bad + step) {
			break
		}
		bad, step = bad+step, stride*step
	}
	good := bad + step
	for good-bad > c.grain {
		if mid := bad + (good-bad)/2; c.readable(mid) {
			good = mid
		} else {
			bad = mid
		}
	}
	c.gaps = append(c.gaps, gap{from: c.last, to: good})
	c.last = good
	return c.seek(good)
}

// readable reports whether everything can be read from a position on, up to the next key.
func (c *cursor) readable(position uint64) bool {
	c.seek(position)
	if c.failed != nil || c.it.Error() == nil {
		return true
	}
	c.blame()
	return false
}

// covers reports whether a position that c has passed lies where it could not read.
func (c *cursor) covers(position uint64) bool {
	// The newest gaps matter: whoever asks walks along.
	for i := len(c.gaps) - 1; i >= 0 && (c.gaps[i].end || position < c.gaps[i].to); i-- {
		if c.gaps[i].holds(position) {
			return true
		}
	}
	return false
}

func (c *cursor) close() {
	if c.it != nil {
		_ = c.it.Close() // its error, if any, was a gap
		c.it = nil
	}
}
