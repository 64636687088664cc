package pebble

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"sync/atomic"
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
// and what was deleted would be kept for ever. It goes on as long as Pebble leaves alone what
// did not fit before.
func (e *Engine) squeeze() {
	r, s := e.room, &e.room.squeezer
	if r.level.Load() == 0 && !r.aside.Load() || r.disk.Load() < r.floor() || !e.mayFlush() ||
		s.pause.Add(-1) >= 0 || !s.running.CompareAndSwap(false, true) {
		return
	}
	e.background.Go(func() {
		defer s.running.Store(false)
		keys, err := e.worthMerging()
		for _, key := range keys {
			if err = e.merge(key); !isFull(err) {
				break
			}
		}
		switch {
		case isFull(err): // of none
			s.pause.Store(squeezePause)
		case err != nil && e.compactions.over.Err() == nil:
			e.logger.Error("compact in the background", "err", err)
		}
	})
}

// worthMerging returns the first keys of the tables that can be merged with others, the most
// useful first: those of a deep first level, then those that have deleted most of what lies
// below them. The others come last: once they are out of the way there may be room for those.
// If there are only others it returns nil.
func (e *Engine) worthMerging() ([][]byte, error) {
	levels, err := e.db.SSTables()
	if err != nil {
		return nil, err
	}
	type table struct {
		key   []byte
		worth uint64
	}
	var tables []table
	for level, infos := range levels[:len(levels)-1] {
		for _, t := range infos {
			worth := t.TableStats.PointDeletionsBytesEstimate + t.TableStats.RangeDeletionsBytesEstimate
			if level == 0 && e.room.deep() {
				worth = math.MaxUint64
			}
			tables = append(tables, table{t.Smallest.UserKey, worth})
		}
	}
	slices.SortStableFunc(tables, func(a, b table) int { return cmp.Compare(b.worth, a.worth) })
	if len(tables) == 0 || tables[0].worth == 0 {
		return nil, nil
	}
	keys := make([][]byte, len(tables))
	for i, t := range tables {
		keys[i] = t.key
	}
	return keys, nil
}

// merge has Pebble merge the tables of a key, from the first level to the last.
func (e *Engine) merge(key []byte) error {
	return e.db.Compact(e.compactions.over, key, append(bytes.Clone(key), 0), false)
}
