package diskspace

import (
	"bytes"
	"cmp"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// reclaimer wins back the space of deleted records while the disk is full.
type reclaimer struct {
	meter       *meter
	gate        *gate
	compactions *Scheduler
	logger      *slog.Logger

	running atomic.Bool  // then a merge that finds no space fails, and Pebble tries others: see attempt
	pause   atomic.Int64 // ticks that are still to be passed over

	mu    sync.Mutex // held while work begins
	ended bool
	work  sync.WaitGroup
}

// reclaimPause is for how many ticks no table is merged for its space after none could be.
const reclaimPause = 60

// begin calls do in the background, unless it runs already.
func (r *reclaimer) begin(do func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || !r.running.CompareAndSwap(false, true) {
		return
	}
	r.work.Go(func() {
		defer r.running.Store(false)
		do()
	})
}

// end lets nothing more begin.
func (r *reclaimer) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
}

// tick has Pebble merge a table that has deleted much of what lies below it. By itself
// Pebble merges what has grown too large; where nothing new is accepted that is soon nothing,
// and what was deleted would be kept for ever. It goes on as long as Pebble leaves alone what
// did not fit before.
func (r *reclaimer) tick() {
	m := r.meter
	if m.state.now().level == normal && !m.skipped.Load() || m.disk.Load() < m.sizes.CompactionThreshold() ||
		!r.gate.MayFlush() || r.pause.Add(-1) >= 0 {
		return
	}
	r.begin(func() {
		keys, err := r.candidates()
		for _, key := range keys {
			if err = r.merge(key); !IsFull(err) {
				break
			}
		}
		switch {
		case IsFull(err): // none fits
			r.pause.Store(reclaimPause)
		case err != nil && r.compactions.Context().Err() == nil:
			r.logger.Error("compact in the background", "err", err)
		}
	})
}

// candidates returns the first keys of the tables that can be merged with others, the most
// useful first: those of a deep first level, then those that have deleted most of what lies
// below them. The others come last: when they have been merged there may be space for those.
// If there are only others it returns nil.
func (r *reclaimer) candidates() ([][]byte, error) {
	levels, err := r.meter.parts.tree.SSTables()
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
			if level == 0 && r.meter.state.now().deep() {
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
func (r *reclaimer) merge(key []byte) error {
	return r.meter.parts.tree.Compact(r.compactions.Context(), key, append(bytes.Clone(key), 0), false)
}
