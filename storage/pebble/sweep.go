package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/dirty"
	"github.com/sessiond/sessiond/storage/pebble/internal/diskspace"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
	"github.com/sessiond/sessiond/ttl"
)

// index is where the sweeper stands. Six rules keep it exact:
//
//  1. A record with a deadline has one valid index entry: the one at its entry's indexed, which is
//     not later than its deadline. Other entries are stale and go when they come due.
//  2. The entry is in the tree, or, until the next checkpoint, among the filings of the memory. The
//     sweeper takes the memory before it looks at the tree, so nothing falls between the two.
//  3. A checkpoint that brings entries to the tree says how low in low, before the memory forgets
//     them, and the next sweep begins there.
//  4. The sweeper reads each record again under its stripe. A due one goes, by a commit of its own; one
//     that was extended is filed anew at its deadline, which only the memory hears of.
//  5. No valid entry of the tree lies below reached, but for low. A checkpoint writes the lowest of the
//     two, as it was when the generation was frozen, and of the entries of its records: a restart scans
//     from there, and not from the beginning, past the tombstones of everything that ever expired.
//  6. What a start has found in the log is filed at its deadline. The entry that the tree may have
//     before is stale then.
type index struct {
	ahead atomic.Int64 // ttl.Instant; no entry that a sweep did not look at comes due before
	seen  atomic.Int64 // ttl.Instant; as in the log, changed by the sweeper
	swept atomic.Int64 // records that were removed since the store was opened

	onSwept atomic.Pointer[func([]storage.Key, storage.Barrier)] // nil if nobody wants to know

	mu      sync.Mutex
	low     ttl.Instant // lowest entry that came to the tree since the sweep began; Never if none did
	reached ttl.Instant // no valid entry of the tree lies below, but for low

	// The sweeper's own.
	from   []byte  // no valid entry of the tree below, but for low
	peeked bool    // ahead is true
	batch  []filed // the window
	keys   []byte  // the memory of batch
	frame  []byte  // scratch
	reader reader

	removed []storage.Key   // by the last chunk, for onSwept
	covers  storage.Barrier // the removal of those

	last ttl.Instant // when the last sweep was; seen at first
}

// begin has the sweeper begin where something may lie.
func (x *index) begin() { x.from = layout.AppendIndexStart(nil, x.reached) }

// Swept implements storage.SweepReporter.
func (e *Engine) Swept() int64 { return e.index.swept.Load() }

// OnSwept implements storage.Engine.
func (e *Engine) OnSwept(fn func(keys []storage.Key, b storage.Barrier)) {
	if fn == nil {
		e.index.onSwept.Store(nil)
		return
	}
	e.index.onSwept.Store(&fn)
}

// list notes for onSwept what a chunk removed. The stripes of the chunk are held, so the databases
// are those of the removal.
func (e *Engine) list(chunk []filed, covers storage.Barrier) {
	x := &e.index
	if x.onSwept.Load() == nil {
		return
	}
	x.covers = covers
	databases := e.databases.spaces.Databases()
	for i := range chunk {
		if chunk[i].fate == removed {
			db := databases.Of(chunk[i].place.PhysicalDB())
			x.removed = append(x.removed, storage.Key{DB: int(db), Name: chunk[i].name})
		}
	}
}

// handOver tells onSwept what the last chunk removed. No stripe is held any more.
func (x *index) handOver() {
	if fn := x.onSwept.Load(); fn != nil && len(x.removed) > 0 {
		(*fn)(x.removed, x.covers)
	}
	clear(x.removed)
	x.removed = x.removed[:0]
}

// notice lowers ahead to an entry that was filed.
func (x *index) notice(due ttl.Instant) {
	for {
		old := x.ahead.Load()
		lower := int64(ttl.Earlier(ttl.Instant(old), due))
		if lower == old || x.ahead.CompareAndSwap(old, lower) {
			return
		}
	}
}

// lower is told that an entry came to the tree; Never is none.
func (x *index) lower(due ttl.Instant) {
	x.mu.Lock()
	x.low = ttl.Earlier(x.low, due)
	x.mu.Unlock()
	x.notice(due)
}

// lowest returns below which there is no valid entry of the tree.
func (x *index) lowest() ttl.Instant {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.low != ttl.Never {
		return min(x.low, x.reached)
	}
	return x.reached
}

// rewind begins a sweep where something may lie in the tree.
func (x *index) rewind() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.low == ttl.Never {
		return
	}
	x.reached, x.low = min(x.reached, x.low), ttl.Never
	if start := layout.AppendIndexStart(nil, x.reached); bytes.Compare(start, x.from) < 0 {
		x.from = start
	}
}

// reach notes up to where a sweep has come.
func (x *index) reach(due ttl.Instant) {
	x.mu.Lock()
	x.reached = due
	x.mu.Unlock()
}

// Sweep implements storage.Engine.
//
// Index entries are deleted one by one: a range tombstone for each batch is cheaper to
// write, but every read of the memtable after it pays. Looking beyond now, for the next
// entry, may walk the tombstones of many logouts; so that is done once, and then only
// after the entry that was found there has come due.
func (e *Engine) Sweep(ctx context.Context, now ttl.Instant, budget int) (n int, next ttl.Instant, err error) {
	if err := e.ready(ctx); err != nil {
		return 0, ttl.Never, err
	}
	if e.guard.Refuses(diskspace.ClassDelete) {
		return 0, ttl.Never, storage.ErrFull
	}
	if err := e.moveTime(ctx, now); err != nil {
		return 0, ttl.Never, err
	}
	for {
		n, next, err = e.sweepOnce(ctx, now, budget)
		if n > 0 || budget <= 0 || err != nil || !next.Due(now) {
			return n, next, err
		}
		// It came due, or to the tree, while the rest was looked at.
	}
}

// sweepOnce is Sweep, which looks at everything once.
func (e *Engine) sweepOnce(ctx context.Context, now ttl.Instant, budget int) (n int, next ttl.Instant, err error) {
	x := &e.index
	if ttl.Instant(x.ahead.Load()).Due(now) {
		x.peeked = false
	}
	if !x.peeked {
		x.ahead.Store(int64(ttl.Never)) // before anything is looked at: what is filed later is noticed
	}
	e.passStripes()
	memory := e.memory.Load() // before rewind: what it has no more when it is taken is in low
	x.rewind()
	it, err := e.db.NewIter(&pebbledb.IterOptions{LowerBound: x.from, UpperBound: []byte{layout.PrefixIndex + 1}})
	if err != nil {
		return 0, ttl.Never, pebblefile.ReadError("sweep", err)
	}
	defer func() {
		if closeErr := it.Close(); closeErr != nil {
			err = errors.Join(err, pebblefile.ReadError("sweep", closeErr))
		}
	}()
	n, err = e.sweepDue(ctx, it, memory, now, budget)
	if err == nil && n > 0 {
		err = e.await(ctx, 0) // with Seen
	}
	if err != nil {
		return n, ttl.Never, err
	}
	next, err = e.peek(it, memory)
	return n, next, err
}

// peek returns when the next entry comes due.
func (e *Engine) peek(it *pebbledb.Iterator, memory *dirty.Memory) (ttl.Instant, error) {
	x := &e.index
	backlog := it.Valid()
	if backlog || !x.peeked {
		if backlog || it.Next() {
			due, _, _, ok := layout.SplitIndexKey(it.Key())
			if !ok {
				return ttl.Never, errIndexKey(it.Key())
			}
			x.notice(due)
		}
		if err := it.Error(); err != nil {
			return ttl.Never, pebblefile.ReadError("sweep", err)
		}
		x.notice(e.firstFiling(memory))
		x.peeked = true
	}
	return ttl.Instant(x.ahead.Load()), nil
}

func errIndexKey(key []byte) error {
	return fmt.Errorf("index key of %d bytes: %w", len(key), layout.ErrDamaged)
}

// passStripes returns when every update that was under way is over.
func (e *Engine) passStripes() {
	for i := range e.stripes {
		e.stripes[i].Lock()
		//lint:ignore SA2001 the point is to have waited
		e.stripes[i].Unlock()
	}
}
