package pebble

import (
	"bytes"
	"cmp"
	"slices"
	"sync/atomic"

	pebbledb "github.com/cockroachdb/pebble/v2"
)

// squeezer is what Engine.squeeze keeps from one look at the room to the next.
type squeezer struct {
	running atomic.Bool  // then no merge that does not fit is tried again: see room.attempt
	pause   atomic.Int64 // looks that are still to be passed over
}

// squeezePause is for how many looks no table is merged for its space after none could be.
const squeezePause = 60

// squeeze has Pebble merge a table that has deleted much of what lies below it. By itself
// Pebble merges what has grown too large; where nothing new is accepted that is soon nothing,
// and what was deleted would be kept for ever.
func (e *Engine) squeeze() {
	r, s := e.room, &e.room.squeezer
	if r.level.Load() == 0 || r.disk.Load() < r.floor() || !e.mayFlush() ||
		s.pause.Add(-1) >= 0 || !s.running.CompareAndSwap(false, true) {
		return
	}
	e.background.Go(func() {
		defer s.running.Store(false)
		keys, err := e.wasteful()
		for _, key := range keys {
			if err = e.merge(key); !isFull(err) {
				break
			}
		}
		switch {
		case isFull(err): // of none
			s.pause.Store(squeezePause)
		case err != nil && r.over.Err() == nil:
			e.logger.Error("compact in the background", "err", err)
		}
	})
}

// wasteful returns the first keys of the tables that can be merged with others, those first
// that have deleted most of what lies below them. Those that have deleted nothing come last:
// once they are out of the way there may be room for the others. If no table has deleted
// anything it returns nil.
func (e *Engine) wasteful() ([][]byte, error) {
	levels, err := e.db.SSTables()
	if err != nil {
		return nil, err
	}
	tables := slices.Concat(levels[:len(levels)-1]...)
	deleted := func(t pebbledb.SSTableInfo) uint64 {
		return t.TableStats.PointDeletionsBytesEstimate + t.TableStats.RangeDeletionsBytesEstimate
	}
	slices.SortStableFunc(tables, func(a, b pebbledb.SSTableInfo) int { return cmp.Compare(deleted(b), deleted(a)) })
	var keys [][]byte
	if len(tables) > 0 && deleted(tables[0]) > 0 {
		for _, t := range tables {
			keys = append(keys, t.Smallest.UserKey)
		}
	}
	return keys, nil
}

// merge has Pebble merge the tables of a key, from the first level to the last.
func (e *Engine) merge(key []byte) error {
	return e.db.Compact(e.room.over, key, append(bytes.Clone(key), 0), false)
}
