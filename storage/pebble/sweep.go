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

	mu    sync.Mutex  // held until the batch that changes saved is applied
	low   ttl.Instant // lowest entry filed below the fence since the sweep began; Never if none
	saved ttl.Instant // as on disk

	// The sweeper's own.
	from   []byte // no valid entry below, but for low
	peeked bool   // ahead is true
	batch  []filed
	keys   []byte // the memory of batch

	last ttl.Instant // when the last sweep was; seen at first
}

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

// filed is an index entry that came due.
type filed struct {
	key   []byte
	due   ttl.Instant
	place place
	name  []byte // part of key

	// What became of it.
	fate fate
	now  entry // if it was extended
}

// sweepChunk is how many entries are dealt with under one set of stripes.
const sweepChunk = 128

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
		return 0, ttl.Never, nil // it will be called again
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
		err = e.await(ctx, storage.Barrier{System: e.order.issued.Load()}) // with Seen
	}
	if err != nil {
		return n, ttl.Never, err
	}
	next, err = e.peek(it)
	return n, next, err
}

// sweepDue deals with up to budget entries that are due. It leaves the iterator at the next
// one, or at its limit if none is left.
func (e *Engine) sweepDue(ctx context.Context, it *pebbledb.Iterator, now ttl.Instant, budget int) (n int, err error) {
	x := &e.index
	limit := appendIndexStart(nil, max(now, 0)+1)
	it.SeekGEWithLimit(x.from, limit)
	for n < budget && it.Valid() && !e.room.refuses(ends) {
		if err := e.stalls.wait(ctx); err != nil {
			return n, err
		}
		if err := ctx.Err(); err != nil {
			return n, err
		}
		if err := e.collect(it, limit, min(budget-n, sweepChunk)); err != nil {
			return n, err
		}
		if err := e.sweepBatch(now); err != nil {
			return n, err
		}
		n += len(x.batch)
	}
	if !it.Valid() && it.Error() == nil {
		x.from = appendIndexStart(x.from[:0], x.line())
	}
	return n, nil
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
		if err := errors.Join(saveFence(b, fence), e.applySwept(b, nil)); err != nil {
			return nil, err
		}
		x.saved = fence
	}
	fence = earlier(fence, x.low)
	x.low = ttl.Never
	return appendIndexStart(nil, fence), nil
}

// collect moves up to most entries from the iterator to index.batch.
func (e *Engine) collect(it *pebbledb.Iterator, limit []byte, most int) error {
	x := &e.index
	x.batch, x.keys = x.batch[:0], x.keys[:0]
	for ; it.Valid() && len(x.batch) < most; it.NextWithLimit(limit) {
		start := len(x.keys)
		x.keys = append(x.keys, it.Key()...)
		f := filed{key: x.keys[start:len(x.keys):len(x.keys)]}
		var ok bool
		if f.due, f.place, f.name, ok = splitIndex(f.key); !ok {
			return errIndexKey(f.key)
		}
		x.batch = append(x.batch, f)
	}
	if err := it.Error(); err != nil {
		return readError("sweep", err)
	}
	return nil
}

// sweepBatch settles the entries of index.batch under the stripes of their records.
func (e *Engine) sweepBatch(now ttl.Instant) error {
	x := &e.index
	var held stripeSet
	for i := range x.batch {
		held.add(stripeOf(x.batch[i].place.hash()))
	}
	held.lock(&e.stripes)
	defer held.unlock(&e.stripes)
	b := e.db.NewBatch()
	var diffs []difference
	var key []byte
	for i := range x.batch {
		f := &x.batch[i]
		key = appendPosition(key[:0], prefixEntry, f.place, f.name)
		rec, found, err := e.entry(key)
		if err != nil {
			return err
		}
		if err := f.decide(b, rec, found, now); err != nil {
			return err
		}
		switch f.fate {
		case removed:
			diffs = addDifference(diffs, f.place.space(), storage.Count{Records: -1, Expiring: -1})
		case extended:
			x.notice(rec.deadline)
		}
	}
	for _, d := range diffs {
		if err := b.Merge(numbered(keyCount, d.space), encodeCount(d.count), nil); err != nil {
			return err
		}
	}
	last := x.batch[len(x.batch)-1]
	x.mu.Lock()
	defer x.mu.Unlock()
	x.saved = earlier(x.low, last.due)
	seen := e.Seen()
	if len(diffs) > 0 && now > seen {
		seen = now
		if err := saveSeen(b, seen); err != nil {
			return err
		}
	}
	if err := errors.Join(saveFence(b, x.saved), e.applySwept(b, diffs)); err != nil {
		return err
	}
	x.seen.Store(int64(seen))
	x.from = append(append(x.from[:0], last.key...), 0)
	for i := range x.batch {
		x.batch[i].show(&e.front)
	}
	return nil
}

// show brings the front to what was applied.
func (f *filed) show(front *front) {
	switch f.fate {
	case removed:
		front.drop(f.place, f.name)
	case extended:
		front.put(f.place, f.name, f.now, nil, false)
	}
}

// earlier returns the lower of two instants, where Never stands for none.
func earlier(a, b ttl.Instant) ttl.Instant {
	if a == ttl.Never || (b != ttl.Never && b < a) {
		return b
	}
	return a
}

// fate is what becomes of a record whose index entry came due.
type fate int

const (
	unrelated fate = iota // the entry was stale
	removed
	extended
)

// decide writes to b what becomes of an index entry that is due, given the record under its
// key.
func (f *filed) decide(b *pebbledb.Batch, rec entry, found bool, now ttl.Instant) error {
	f.fate = unrelated
	if err := b.Delete(f.key, nil); err != nil {
		return err
	}
	switch {
	case !found || rec.indexed != f.due:
		return nil
	case rec.deadline.Due(now):
		f.fate = removed
		err := deletePosition(b, prefixEntry, f.place, f.name)
		return errors.Join(err, deletePosition(b, prefixValue, f.place, f.name))
	default:
		f.fate, f.now = extended, rec
		f.now.indexed = rec.deadline
		err := setEntry(b, f.place, f.name, f.now)
		return errors.Join(err, setIndex(b, f.now.indexed, f.place, f.name))
	}
}

func saveFence(b *pebbledb.Batch, fence ttl.Instant) error {
	return b.Set(keyFence, binary.BigEndian.AppendUint64(nil, uint64(fence)), nil)
}

// applySwept applies what the sweeper did. Nobody can see it, so no reply waits for it.
func (e *Engine) applySwept(b *pebbledb.Batch, diffs []difference) error {
	e.order.begin()
	defer e.order.end(false)
	if err := e.apply(b, 0); err != nil {
		return err
	}
	e.counters.apply(nil, diffs)
	return nil
}
