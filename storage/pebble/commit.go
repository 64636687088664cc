package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// commit applies the changes as one batch and makes them visible. The stripes are held.
func (tx *txn) commit() (storage.Barrier, error) {
	if !tx.pending() {
		return storage.Barrier{}, nil
	}
	e := tx.e
	b := e.db.NewBatchWithSize(tx.batchSize())
	if err := tx.build(b); err != nil {
		return storage.Barrier{}, err
	}
	if err := e.room.take(tx.demand(), b.Len()); err != nil {
		return storage.Barrier{}, errors.Join(err, b.Close())
	}
	for _, generation := range tx.created {
		generation.Add(1)
	}
	if b.Empty() { // a record came and went
		return storage.Barrier{}, b.Close()
	}
	if tx.swapped {
		e.layout.mu.Lock()
		defer e.layout.mu.Unlock()
	}
	if tx.earliest != ttl.Never && tx.earliest < e.index.line() {
		e.index.mu.Lock()
		defer e.index.mu.Unlock()
		if err := e.index.lower(b, tx.earliest); err != nil {
			return storage.Barrier{}, err
		}
	}
	e.order.begin()
	if err := e.apply(b, tx.newest); err != nil {
		e.order.end(false)
		return storage.Barrier{}, err
	}
	tx.show()
	e.counters.apply(tx.flushed, tx.diffs)
	e.index.notice(tx.earliest)
	if tx.swapped {
		e.layout.spaces = tx.spaces
	}
	lasting := tx.lasting()
	kept := !lasting && tx.keep()
	barrier := e.order.end(lasting)
	if kept { // a reply has nothing to wait for
		return storage.Barrier{}, nil
	}
	tx.mark(barrier)
	return barrier, nil
}

// batchSize returns at least how many bytes the batch will take. A batch that has to grow
// doubles, and a large one is kept in memory as it is until it is flushed.
func (tx *txn) batchSize() (n int) {
	const keys = 3 * (1 + 8 + positionHead + 2*binary.MaxVarintLen32) // value, entry, index
	for i := range tx.cells {
		if c := &tx.cells[i]; c.changed {
			n += len(c.value) + 3*len(c.name) + keys + entrySize
		}
	}
	return n + 1<<10 // head and counters
}

// show brings the front to what was applied.
func (tx *txn) show() {
	front := &tx.e.front
	for _, space := range tx.flushed {
		front.dropSpace(space)
	}
	for i := range tx.cells {
		switch c := &tx.cells[i]; {
		case !c.changed:
		case c.exists:
			front.put(c.place, c.name, c.now, c.value, c.replaced)
		default:
			front.drop(c.place, c.name)
		}
	}
}

// lasting reports whether the commit has to be on stable storage before its reply.
func (tx *txn) lasting() bool {
	switch tx.e.durability {
	case storage.Strict:
		return true
	case storage.EverySec:
		return false
	}
	if tx.swapped || len(tx.flushed) > 0 {
		return true
	}
	for i := range tx.cells {
		if c := &tx.cells[i]; c.changed && !c.extends() {
			return true
		}
	}
	return false
}

// keep puts the commit into the journal, if it read and changed one record alone and what the
// caller did before survives the end of the process, and reports whether it is there.
func (tx *txn) keep() bool {
	if tx.all || tx.beyond || len(tx.cells) != 1 || !tx.e.flusher.handed(tx.after) {
		return false
	}
	c := &tx.cells[0]
	return c.existed && tx.e.journal.keep(c)
}

// demand says what the commit asks of the disk.
func (tx *txn) demand() demand {
	asked := ends
	for i := range tx.cells {
		switch c := &tx.cells[i]; {
		case !c.changed || !c.exists:
		case c.replaced:
			return grows
		case c.now.deadline == ttl.Never || c.extends():
			asked = extends
		}
	}
	return asked
}

// mark leaves the barrier for whoever reads the records next.
func (tx *txn) mark(b storage.Barrier) {
	for i := range tx.cells {
		c := &tx.cells[i]
		if !c.changed {
			continue
		}
		s := &tx.e.stripes[stripeOf(c.place.hash())]
		s.newest = s.newest.Join(b)
	}
	if tx.swapped || len(tx.flushed) > 0 {
		for i := range tx.e.stripes {
			s := &tx.e.stripes[i]
			s.newest = s.newest.Join(b)
		}
	}
}

// apply writes b to the log and makes it visible, and then frees it. newest is the largest
// revision in b. It returns an error only if nothing was applied.
func (e *Engine) apply(b *pebbledb.Batch, newest uint64) error {
	if err := e.refusal.Load(); err != nil {
		return *err
	}
	defer e.failPanicked()
	if r := &e.revisions; newest > r.reserved.Load() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if up := newest + reservation; newest > r.reserved.Load() {
			if err := b.Set(keyRevision, binary.BigEndian.AppendUint64(nil, up), nil); err != nil {
				return err
			}
			defer r.reserved.Store(up)
		}
	}
	e.large.note(b.Len())
	e.room.note(b.Len())
	e.stalls.note(b.Len())
	if err := e.db.Apply(b, pebbledb.NoSync); err != nil {
		return fmt.Errorf("apply a commit: %w", err)
	}
	return b.Close()
}

// build writes the changes to b. It may be called more than once.
func (tx *txn) build(b *pebbledb.Batch) error {
	tx.diffs, tx.earliest = tx.diffs[:0], ttl.Never
	for _, space := range tx.flushed {
		if err := flush(b, space); err != nil {
			return err
		}
	}
	for i := range tx.cells {
		c := &tx.cells[i]
		if !c.changed || (!c.existed && !c.exists) {
			continue
		}
		drop, add := c.reindex()
		if err := c.write(b, drop, add); err != nil {
			return err
		}
		tx.earliest = earlier(tx.earliest, add)
		tx.diffs = addDifference(tx.diffs, c.place.space(), c.difference())
	}
	for _, d := range tx.diffs {
		if err := b.Merge(numbered(keyCount, d.space), encodeCount(d.count), nil); err != nil {
			return err
		}
	}
	if tx.swapped {
		return tx.e.layout.spaces.write(b, tx.spaces)
	}
	return nil
}

// flush removes the records of a space. Their index entries stay for the sweeper.
func flush(b *pebbledb.Batch, space uint16) error {
	for _, prefix := range [...]byte{prefixValue, prefixEntry} {
		lower, upper := spaceBounds(prefix, space)
		if err := b.DeleteRange(lower, upper, nil); err != nil {
			return err
		}
	}
	return b.Set(numbered(keyCount, space), encodeCount(storage.Count{}), nil)
}

// write writes to b how s becomes t.
func (s spaces) write(b *pebbledb.Batch, t spaces) error {
	for db := range s {
		if _, stays := t[db]; stays {
			continue
		}
		if err := b.Delete(numbered(keySpace, db), nil); err != nil {
			return err
		}
	}
	for db, space := range t {
		if err := b.Set(numbered(keySpace, db), binary.BigEndian.AppendUint16(nil, space), nil); err != nil {
			return err
		}
	}
	return nil
}

// write writes the change of one record to b, with its index entries to drop and to add.
func (c *cell) write(b *pebbledb.Batch, drop, add ttl.Instant) error {
	if drop != ttl.Never {
		if err := deleteIndex(b, drop, c.place, c.name); err != nil {
			return err
		}
	}
	if add != ttl.Never {
		if err := setIndex(b, add, c.place, c.name); err != nil {
			return err
		}
	}
	if !c.exists {
		if err := deletePosition(b, prefixEntry, c.place, c.name); err != nil {
			return err
		}
		return deletePosition(b, prefixValue, c.place, c.name)
	}
	if err := setEntry(b, c.place, c.name, c.now); err != nil {
		return err
	}
	if !c.replaced {
		return nil
	}
	op := b.SetDeferred(1+positionHead+len(c.name), len(c.value))
	appendPosition(op.Key[:0], prefixValue, c.place, c.name)
	copy(op.Value, c.value)
	return op.Finish()
}

// reindex sets where the record will be filed and returns the index entries to drop and to
// add; Never stands for none. An entry that comes due early enough stays where it is, since
// the sweeper looks at the deadline and files the record anew: that makes an extension
// cheap.
func (c *cell) reindex() (drop, add ttl.Instant) {
	if !c.exists || c.now.deadline == ttl.Never {
		c.now.indexed = ttl.Never
		return c.was.indexed, ttl.Never
	}
	if c.was.indexed != ttl.Never && c.was.indexed <= c.now.deadline {
		c.now.indexed = c.was.indexed
		return ttl.Never, ttl.Never
	}
	c.now.indexed = c.now.deadline
	return c.was.indexed, c.now.deadline
}

func setEntry(b *pebbledb.Batch, p place, name []byte, x entry) error {
	op := b.SetDeferred(1+positionHead+len(name), entrySize)
	appendPosition(op.Key[:0], prefixEntry, p, name)
	x.encode(op.Value)
	return op.Finish()
}

func deletePosition(b *pebbledb.Batch, prefix byte, p place, name []byte) error {
	op := b.DeleteDeferred(1 + positionHead + len(name))
	appendPosition(op.Key[:0], prefix, p, name)
	return op.Finish()
}

func setIndex(b *pebbledb.Batch, due ttl.Instant, p place, name []byte) error {
	op := b.SetDeferred(1+8+positionHead+len(name), 0)
	appendIndex(op.Key[:0], due, p, name)
	return op.Finish()
}

func deleteIndex(b *pebbledb.Batch, due ttl.Instant, p place, name []byte) error {
	op := b.DeleteDeferred(1 + 8 + positionHead + len(name))
	appendIndex(op.Key[:0], due, p, name)
	return op.Finish()
}
