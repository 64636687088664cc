package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// index is where the sweeper stands. Five rules keep it exact:
//
//  1. A record with a deadline has one valid index entry: the one at its entry's indexed,
//     which is not later than its deadline. Other entries are stale and go when they come due.
//  2. Before the sweeper looks at what is due, it moves the fence past it and then takes
//     every stripe once. From then on nobody files below the fence unnoticed.
//  3. Who has to file below the fence all the same, because the clock stepped back, says so
//     in low, and the next sweep begins there.
//  4. The sweeper reads each record again under its stripe. A due one goes; one that was
//     extended is filed anew at its deadline, which lies at the fence or later.
//  5. No valid entry lies below saved, in the order of the log. A restart scans from there
//     and not from the beginning, past the tombstones of everything that ever expired.
type index struct {
	fence atomic.Int64 // ttl.Instant; moved by the sweeper
	ahead atomic.Int64 // ttl.Instant; no entry at the fence or later comes due before
	seen  atomic.Int64 // ttl.Instant; as on disk, changed by the sweeper
	swept atomic.Int64 // records that were removed since the store was opened

	mu    sync.Mutex  // held until the batch that changes saved is applied
	low   ttl.Instant // lowest entry filed below the fence since the sweep began; Never if none
	saved ttl.Instant // as on disk

	// The sweeper's own.
	from   []byte  // no valid entry below, but for low
	peeked bool    // ahead is true
	batch  []filed // the window
	keys   []byte  // the memory of batch
	key    []byte  // scratch
	frame  []byte  // scratch

	last ttl.Instant // when the last sweep was; seen at first
}

// begin has the sweeper begin where something may lie.
func (x *index) begin() {
	x.fence.Store(int64(x.saved))
	x.from = appendIndexStart(nil, x.saved)
}

// Swept implements storage.SweepReporter.
func (e *Engine) Swept() int64 { return e.index.swept.Load() }

// line returns the fence. Whoever compares with it holds the stripe of the record.
func (x *index) line() ttl.Instant { return ttl.Instant(x.fence.Load()) }

// notice lowers ahead to an entry that was filed.
func (x *index) notice(due ttl.Instant) {
	for {
		old := x.ahead.Load()
		lower := int64(earlier(ttl.Instant(old), due))
		if lower == old || x.ahead.CompareAndSwap(old, lower) {
			return
		}
	}
}

// lower notes that b files an entry below the fence. The caller holds mu until b is applied.
func (x *index) lower(b *pebbledb.Batch, due ttl.Instant) error {
	x.low = earlier(x.low, due)
	if due >= x.saved {
		return nil
	}
	x.saved = due
	return saveFence(b, due)
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
	if e.room.refuses(ends) {
		return 0, ttl.Never, storage.ErrFull
	}
	if err := e.moveFence(now); err != nil {
		return 0, ttl.Never, err
	}
	if err := e.moveTime(ctx, now); err != nil {
		return 0, ttl.Never, err
	}
	x := &e.index
	if ttl.Instant(x.ahead.Load()).Due(now) {
		x.peeked = false
	}
	if !x.peeked {
		x.ahead.Store(int64(ttl.Never)) // before the iterator is made: what is filed later is noticed
	}
	it, err := e.db.NewIter(&pebbledb.IterOptions{LowerBound: x.from, UpperBound: []byte{prefixIndex + 1}})
	if err != nil {
		return 0, ttl.Never, readError("sweep", err)
	}
	defer func() {
		if closeErr := it.Close(); closeErr != nil {
			err = errors.Join(err, readError("sweep", closeErr))
		}
	}()
	n, err = e.sweepDue(ctx, it, now, budget)
	if err == nil && n > 0 {
		err = e.await(ctx, 0) // with Seen
	}
	if err != nil {
		return n, ttl.Never, err
	}
	next, err = e.peek(it)
	return n, next, err
}

// peek returns when the next entry comes due.
func (e *Engine) peek(it *pebbledb.Iterator) (ttl.Instant, error) {
	x := &e.index
	backlog := it.Valid()
	if !backlog && x.peeked {
		return ttl.Instant(x.ahead.Load()), nil
	}
	if backlog || it.Next() {
		due, _, _, ok := splitIndex(it.Key())
		if !ok {
			return ttl.Never, errIndexKey(it.Key())
		}
		x.notice(due)
	}
	if err := it.Error(); err != nil {
		return ttl.Never, readError("sweep", err)
	}
	x.peeked = true
	return ttl.Instant(x.ahead.Load()), nil
}

func errIndexKey(key []byte) error {
	return fmt.Errorf("index key of %d bytes: %w", len(key), ErrDamaged)
}

// moveFence brings the fence just past now, back too if the clock stepped back, and the
// beginning of the scan to where something may lie.
func (e *Engine) moveFence(now ttl.Instant) error {
	x := &e.index
	fence := max(now, 0) + 1
	if now == ttl.Latest {
		fence = now
	}
	start, err := e.rewind(fence)
	if err != nil {
		return err
	}
	if bytes.Compare(start, x.from) < 0 {
		x.from = start
	}
	old := x.line()
	x.fence.Store(int64(fence))
	if fence >= old { // whoever read the clock before it came to now may still be at work
		for i := range e.stripes {
			e.stripes[i].Lock()
			//lint:ignore SA2001 the point is to have waited for whoever read the old fence
			e.stripes[i].Unlock()
		}
	}
	return nil
}

// rewind returns the lowest key that has to be looked at if the fence moves.
func (e *Engine) rewind(fence ttl.Instant) ([]byte, error) {
	x := &e.index
	x.mu.Lock()
	defer x.mu.Unlock()
	if fence < x.saved {
		// Who files between the two must find the sweeper there after a restart.
		b := e.db.NewBatch()
		if err := e.apply(b, saveFence(b, fence)); err != nil {
			return nil, err
		}
		x.saved = fence
	}
	fence = earlier(fence, x.low)
	x.low = ttl.Never
	return appendIndexStart(nil, fence), nil
}

// earlier returns the lower of two instants, where Never stands for none.
func earlier(a, b ttl.Instant) ttl.Instant {
	if a == ttl.Never || (b != ttl.Never && b < a) {
		return b
	}
	return a
}

func saveFence(b *pebbledb.Batch, fence ttl.Instant) error {
	return b.Set(keyFence, binary.BigEndian.AppendUint64(nil, uint64(fence)), nil)
}
