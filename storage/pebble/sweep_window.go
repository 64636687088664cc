package pebble

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/dirty"
	"github.com/sessiond/sessiond/storage/pebble/internal/diskspace"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
	"github.com/sessiond/sessiond/ttl"
)

// filed is an index entry that came due.
type filed struct {
	key   []byte // in the tree; nil if only the memory has it
	due   ttl.Instant
	place layout.HashSlot
	name  []byte

	// What became of it.
	fate fate
	was  layout.Header // unless it is unrelated
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

// sweepDue deals with up to budget entries of the tree that are due, and of the memory, as one window:
// in the order of their records, which for neighbours are in the same blocks and under the same stripes.
// It leaves the iterator at the next entry, or at its limit if none is left. If it returns an error the
// next sweep begins where this one did.
func (e *Engine) sweepDue(ctx context.Context, it *pebbledb.Iterator, memory *dirty.Memory, now ttl.Instant, budget int) (n int, err error) {
	x := &e.index
	limit := layout.AppendIndexStart(nil, behind(now))
	it.SeekGEWithLimit(x.from, limit)
	if err := x.collect(it, limit, budget); err != nil {
		return 0, err
	}
	var last filed
	if len(x.batch) > 0 {
		last = x.batch[len(x.batch)-1]
	}
	taken := e.take(memory, now, budget-len(x.batch))
	x.sort()
	for left := x.batch; len(left) > 0; n = len(x.batch) - len(left) {
		if err = e.maySweep(ctx); err != nil {
			break
		}
		chunk := left[:min(len(left), sweepChunk)]
		if err = e.settle(chunk, now); err != nil {
			break
		}
		x.handOver()
		left = left[len(chunk):]
	}
	if err != nil {
		for g, filings := range taken {
			g.Filings.Add(filings...)
		}
		return n, err
	}
	switch {
	case !it.Valid():
		x.from = layout.AppendIndexStart(x.from[:0], behind(now))
		x.reach(behind(now))
	case last.key != nil:
		x.from = append(append(x.from[:0], last.key...), 0)
		x.reach(last.due)
	}
	return n, nil
}

// behind returns the first instant that is not due, as far as there is one.
func behind(now ttl.Instant) ttl.Instant {
	if now == ttl.Latest {
		return now
	}
	return max(now, 0) + 1
}

// maySweep waits until changes are welcome, and returns why there are none to be.
func (e *Engine) maySweep(ctx context.Context) error {
	if e.guard.Refuses(diskspace.ClassDelete) {
		return storage.ErrFull
	}
	if err := e.guard.Wait(ctx); err != nil {
		return err
	}
	if err := e.guard.Damage(); err != nil {
		return err
	}
	return ctx.Err()
}

// collect moves up to most entries from the iterator to batch.
func (x *index) collect(it *pebbledb.Iterator, limit []byte, most int) error {
	x.batch, x.keys = x.batch[:0], x.keys[:0]
	for ; it.Valid() && len(x.batch) < most; it.NextWithLimit(limit) {
		start := len(x.keys)
		x.keys = append(x.keys, it.Key()...)
		f := filed{key: x.keys[start:len(x.keys):len(x.keys)]}
		var ok bool
		if f.due, f.place, f.name, ok = layout.SplitIndexKey(f.key); !ok {
			return errIndexKey(f.key)
		}
		x.batch = append(x.batch, f)
	}
	if err := it.Error(); err != nil {
		return pebblefile.ReadError("sweep", err)
	}
	return nil
}

// take moves up to most filings that are due from the memory to batch, and returns them.
func (e *Engine) take(memory *dirty.Memory, now ttl.Instant, most int) map[*dirty.Generation][]dirty.Filing {
	x := &e.index
	taken := map[*dirty.Generation][]dirty.Filing{}
	for _, g := range memory.Generations() {
		filings := g.Filings.Take(int64(now), most)
		if len(filings) == 0 {
			continue
		}
		most -= len(filings)
		taken[g] = filings
		e.commits.Lock() // or a part of the generation may move meanwhile
		for _, f := range filings {
			p, name := g.Name(f.Ref)
			x.batch = append(x.batch, filed{due: ttl.Instant(f.Due), place: layout.HashSlot(p), name: name})
		}
		e.commits.Unlock()
	}
	return taken
}

// firstFiling returns when the memory has to be looked at next; Never if it need not.
func (e *Engine) firstFiling(memory *dirty.Memory) (first ttl.Instant) {
	for _, g := range memory.Generations() {
		for {
			f, ok := g.Filings.First()
			if !ok {
				break
			}
			e.commits.Lock()
			p, name := g.Name(f.Ref)
			s, _ := memory.Recent(p, name)
			e.commits.Unlock()
			if s.Indexed == f.Due && !s.Gone {
				first = ttl.Earlier(first, ttl.Instant(f.Due))
				break
			}
			g.Filings.Drop(f) // the record has moved on
		}
	}
	return first
}

// sort brings the batch into the order of the records. Of two that are equal the tree's stays.
func (x *index) sort() {
	slices.SortFunc(x.batch, func(a, b filed) int {
		return cmp.Or(cmp.Compare(a.place, b.place), bytes.Compare(a.name, b.name), cmp.Compare(a.due, b.due), cmp.Compare(len(b.key), len(a.key)))
	})
	x.batch = slices.CompactFunc(x.batch, func(a, b filed) bool {
		return a.place == b.place && a.due == b.due && bytes.Equal(a.name, b.name)
	})
}

// settle deals with a chunk of the batch under the stripes of its records.
func (e *Engine) settle(chunk []filed, now ttl.Instant) error {
	x := &e.index
	var held stripeSet
	for i := range chunk {
		held.add(stripeOf(chunk[i].place.Hash()))
	}
	held.lock(&e.stripes)
	defer held.unlock(&e.stripes)
	var diffs []difference
	x.frame = layout.NewFrame(x.frame)
	for i := range chunk {
		f := &chunk[i]
		if err := e.decide(f, now); err != nil {
			return err
		}
		if f.fate == removed {
			diffs = addDifference(diffs, f.place.PhysicalDB(), storage.Count{Records: -1, Expiring: -1})
			x.frame = layout.AppendDelete(x.frame, layout.BeforeExpiry, f.place, f.name)
		}
	}
	keep := func(m *dirty.Memory, _ wal.LSN) {
		for i := range chunk {
			chunk[i].keep(e, m)
		}
		e.counters.apply(nil, diffs)
	}
	if len(diffs) == 0 { // what is left is the index, of which the log knows nothing
		e.commits.RLock()
		defer e.commits.RUnlock()
		keep(e.memory.Load(), 0)
		return nil
	}
	return e.remove(chunk, keep, diffs, max(e.Seen(), now))
}

// remove makes the commit that removes what came due. Nobody can see it, so no reply waits for it.
func (e *Engine) remove(chunk []filed, keep func(*dirty.Memory, wal.LSN), diffs []difference, seen ttl.Instant) error {
	x := &e.index
	x.frame = layout.AppendClock(x.frame, seen)
	if len(x.frame) > e.log.Largest() { // long names
		defer func() { x.frame = nil }()
		e.databases.mu.Lock()
		defer e.databases.mu.Unlock()
	}
	var covers storage.Barrier
	err := e.record(x.frame, func(m *dirty.Memory, lsn wal.LSN) {
		if e.mode() != storage.EverySec {
			covers = storage.Barrier(lsn)
		}
		keep(m, lsn)
		x.seen.Store(int64(seen))
	})
	if err != nil {
		return err
	}
	for _, d := range diffs {
		x.swept.Add(-d.count.Records)
	}
	e.list(chunk, covers)
	return nil
}

// decide sets what becomes of an index entry that is due.
func (e *Engine) decide(f *filed, now ttl.Instant) (err error) {
	x, found := e.cache.Stat(f.place, f.name)
	if !found {
		if x, found, err = e.index.reader.entry(f.place, f.name); err != nil {
			return err
		}
	}
	f.was = x
	switch {
	case !found || x.Indexed != f.due:
		f.fate = unrelated
	case x.Deadline.Due(now):
		f.fate = removed
	default:
		f.fate = extended
	}
	return nil
}

// keep notes in the memory what becomes of the entry. Its stripe is held, and commits.
func (f *filed) keep(e *Engine, m *dirty.Memory) {
	c := cell{place: f.place, name: f.name, was: f.was, existed: true}
	switch f.fate {
	case removed:
		c.keep(m)
		e.cache.Drop(f.place, f.name)
	case extended:
		c.exists, c.now, c.add = true, f.was, f.was.Deadline
		c.now.Indexed = f.was.Deadline
		c.keep(m)
		e.cache.Put(f.place, f.name, c.now, nil, false)
		e.index.notice(c.add)
		e.guard.Grew(len(f.name) + layout.HeaderSize) // no frame tells of it
	}
	if f.key != nil && !m.Removes(uint64(f.place), f.name, int64(f.due)) {
		m.Now().AddStale(f.key)
	}
}
