package pebble

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

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

// fate is what becomes of a record whose index entry came due.
type fate int

const (
	unrelated fate = iota // the entry was stale
	removed
	extended
)

// sweepChunk is how many entries are dealt with under one set of stripes.
const sweepChunk = 128

// sweepDue deals with up to budget entries that are due, as one window: in the order of their
// records, which for neighbours are in the same blocks and under the same stripes. It leaves
// the iterator at the next entry, or at its limit if none is left. If it returns an error the
// next sweep begins where this one did.
func (e *Engine) sweepDue(ctx context.Context, it *pebbledb.Iterator, now ttl.Instant, budget int) (n int, err error) {
	x := &e.index
	limit := appendIndexStart(nil, max(now, 0)+1)
	it.SeekGEWithLimit(x.from, limit)
	if err := e.collect(it, limit, budget); err != nil {
		return 0, err
	}
	last := x.sort()
	for left := x.batch; len(left) > 0; n = len(x.batch) - len(left) {
		if err := e.maySweep(ctx); err != nil {
			return n, err
		}
		chunk := left[:min(len(left), sweepChunk)]
		left = left[len(chunk):]
		reached := ttl.Never
		if len(left) == 0 {
			reached = last.due
		}
		if err := e.settle(chunk, now, reached); err != nil {
			return n, err
		}
	}
	switch {
	case !it.Valid():
		x.from = appendIndexStart(x.from[:0], x.line())
	case n > 0:
		x.from = append(append(x.from[:0], last.key...), 0)
	}
	return n, nil
}

// maySweep waits until changes are welcome, and returns why there are none to be.
func (e *Engine) maySweep(ctx context.Context) error {
	if e.room.refuses(ends) {
		return storage.ErrFull
	}
	if err := e.stalls.wait(ctx); err != nil {
		return err
	}
	if err := e.refused(); err != nil {
		return err
	}
	return ctx.Err()
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

// sort brings the batch into the order of the records, and returns what was last in time.
func (x *index) sort() (last filed) {
	if len(x.batch) == 0 {
		return last
	}
	last = x.batch[len(x.batch)-1]
	slices.SortFunc(x.batch, func(a, b filed) int {
		return cmp.Or(cmp.Compare(a.place, b.place), bytes.Compare(a.name, b.name))
	})
	return last
}

// settle deals with a chunk of index.batch under the stripes of its records. Reached is up to
// where nothing is left when it is done; Never if that is where it was.
func (e *Engine) settle(chunk []filed, now, reached ttl.Instant) error {
	x := &e.index
	var held stripeSet
	for i := range chunk {
		held.add(stripeOf(chunk[i].place.hash()))
	}
	held.lock(&e.stripes)
	defer held.unlock(&e.stripes)
	b := e.db.NewBatch()
	var diffs []difference
	for i := range chunk {
		f := &chunk[i]
		rec, found, err := e.filed(f)
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
	x.mu.Lock()
	defer x.mu.Unlock()
	if reached != ttl.Never {
		x.saved = earlier(x.low, reached)
		if err := saveFence(b, x.saved); err != nil {
			return err
		}
	}
	if len(diffs) == 0 { // what is left is the tree's own: the log knows of no index
		if err := e.apply(b); err != nil {
			return err
		}
	} else if err := e.remove(b, chunk, diffs, max(e.Seen(), now)); err != nil {
		return err
	}
	for _, d := range diffs {
		x.swept.Add(-d.count.Records)
	}
	for i := range chunk {
		chunk[i].show(&e.front)
	}
	return nil
}

// remove makes the commit that removes what came due. Nobody can see it, so no reply waits for it.
func (e *Engine) remove(b *pebbledb.Batch, chunk []filed, diffs []difference, seen ttl.Instant) error {
	x := &e.index
	x.frame = newFrame(x.frame)
	for i := range chunk {
		if f := &chunk[i]; f.fate == removed {
			x.frame = appendDelete(x.frame, f.place, f.name)
		}
	}
	x.frame = appendSeen(x.frame, seen)
	if len(x.frame) > e.log.Largest() { // long names
		x.frame = nil
		err := e.applyLarge(b, func() error {
			e.counters.apply(nil, diffs)
			return saveSeen(b, seen)
		})
		if err != nil {
			return err
		}
	} else {
		if _, err := e.append(x.frame, e.commits.RLocker()); err != nil {
			return errors.Join(err, b.Close())
		}
		defer e.commits.RUnlock()
		if err := e.apply(b, saveSeen(b, seen)); err != nil {
			return err
		}
		e.counters.apply(nil, diffs)
	}
	x.seen.Store(int64(seen))
	return nil
}

// filed returns the entry of the record that f says is due.
func (e *Engine) filed(f *filed) (entry, bool, error) {
	if rec, found := e.front.stat(f.place, f.name); found {
		return rec, true, nil
	}
	x := &e.index
	x.key = appendPosition(x.key[:0], prefixEntry, f.place, f.name)
	return e.entry(x.key)
}

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

// show brings the front to what was applied.
func (f *filed) show(front *front) {
	switch f.fate {
	case removed:
		front.drop(f.place, f.name)
	case extended:
		front.put(f.place, f.name, f.now, nil, false)
	}
}
