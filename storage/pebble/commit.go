package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
	"github.com/sessiond/sessiond/ttl"
)

// commit writes the changes to the log, as one frame, and then to the tree, as one batch, which
// makes them visible. The stripes are held.
func (tx *txn) commit() (storage.Barrier, error) {
	if !tx.pending() {
		return 0, nil
	}
	e := tx.e
	tx.prepare()
	if err := e.room.take(tx.demand(), tx.batchSize()); err != nil {
		return 0, err
	}
	if err := e.refused(); err != nil {
		return 0, err
	}
	for _, generation := range tx.created {
		generation.Add(1)
	}
	if tx.changes == 0 && !tx.swapped && len(tx.flushed) == 0 { // a record came and went
		return 0, nil
	}
	large := tx.size > e.log.Largest()
	if tx.swapped || large {
		e.layout.mu.Lock()
		defer e.layout.mu.Unlock()
	}
	if tx.below = tx.earliest != ttl.Never && tx.earliest < e.index.line(); tx.below {
		e.index.mu.Lock()
		defer e.index.mu.Unlock()
	}
	b := e.db.NewBatchWithSize(tx.batchSize())
	if err := tx.build(b); err != nil {
		return 0, errors.Join(err, b.Close())
	}
	if large {
		return 0, tx.commitLarge(b)
	}
	tx.frame = tx.appendFrame(newFrame(tx.frame))
	lsn, err := e.append(tx.frame, e.commits.RLocker())
	if err != nil {
		return 0, errors.Join(err, b.Close())
	}
	defer e.commits.RUnlock()
	var barrier storage.Barrier
	if tx.lasting() {
		barrier = storage.Barrier(lsn)
		raise(&e.lasting, uint64(lsn)) // before anybody sees the change
	}
	if err := e.apply(b, tx.lower(b)); err != nil {
		return 0, err
	}
	e.counters.apply(tx.flushed, tx.diffs)
	tx.show()
	if barrier != 0 {
		tx.mark(barrier)
	}
	return barrier, nil
}

// commitLarge is commit for what fits no segment of the log. layout.mu is held: who walks or counts
// sees none of it before it is safe.
func (tx *txn) commitLarge(b *pebbledb.Batch) error {
	err := tx.e.applyLarge(b, func() error {
		tx.e.counters.apply(tx.flushed, tx.diffs)
		return tx.lower(b)
	})
	if err == nil {
		tx.show()
	}
	return err
}

// refused returns why changes are refused, or nil.
func (e *Engine) refused() error {
	if err := e.refusal.Load(); err != nil {
		return *err
	}
	return nil
}

// prepare works out what the changes make of the index and of the sizes. It may be called more than
// once.
func (tx *txn) prepare() {
	tx.diffs, tx.earliest = tx.diffs[:0], ttl.Never
	tx.changes, tx.size = 0, wal.HeaderSize+len(tx.flushed)*flushSize
	if tx.swapped {
		tx.size += tx.spaces.changeSize()
	}
	for i := range tx.cells {
		c := &tx.cells[i]
		if !c.written() {
			continue
		}
		tx.changes++
		c.drop, c.add = c.reindex()
		tx.size += c.changeSize()
		tx.earliest = earlier(tx.earliest, c.add)
		tx.diffs = addDifference(tx.diffs, c.place.space(), c.difference())
	}
}

// written reports whether there is anything to write of a cell: not if the record came and went.
func (c *cell) written() bool { return c.changed && (c.existed || c.exists) }

// appendFrame appends what the log gets.
func (tx *txn) appendFrame(dst []byte) []byte {
	for _, space := range tx.flushed {
		dst = appendFlush(dst, space)
	}
	for i := range tx.cells {
		if c := &tx.cells[i]; c.written() {
			dst = c.appendChange(dst, tx.e.origin)
		}
	}
	if tx.swapped {
		dst = tx.spaces.appendChange(dst)
	}
	return dst
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
	return n + 1<<10 // head
}

// lower says in b that something is filed below the fence, if it is. Then index.mu is held.
func (tx *txn) lower(b *pebbledb.Batch) error {
	if !tx.below {
		return nil
	}
	return tx.e.index.lower(b, tx.earliest)
}

// show brings to what was applied what is kept in memory beside the tree.
func (tx *txn) show() {
	front := &tx.e.front
	tx.e.index.notice(tx.earliest)
	if tx.swapped {
		tx.e.layout.spaces = tx.spaces
	}
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

// lasting reports whether the commit has to be on stable storage before its reply. It is asked
// once the frame was appended: see SetDurability.
func (tx *txn) lasting() bool {
	switch tx.e.mode() {
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
		s.newest = max(s.newest, b)
	}
	if tx.swapped || len(tx.flushed) > 0 {
		for i := range tx.e.stripes {
			s := &tx.e.stripes[i]
			s.newest = max(s.newest, b)
		}
	}
}

// apply makes b visible, and then frees it. Built is what went wrong in building it. The log has what
// is in it, or the caller knows that nobody misses it: so an error is the end of the store.
func (e *Engine) apply(b *pebbledb.Batch, built ...error) (err error) {
	defer e.failPanicked(&err)
	e.large.note(b.Len())
	e.room.note(b.Len())
	e.stalls.note(b.Len())
	err = errors.Join(built...)
	if err == nil {
		err = e.db.Apply(b, pebbledb.NoSync)
	}
	if err = errors.Join(err, b.Close()); err != nil {
		if err = e.fail(fmt.Errorf("apply a commit: %w", err)); err != nil {
			return err
		}
	}
	return e.failed()
}

// build writes to b what prepare has found. It may be called more than once.
func (tx *txn) build(b *pebbledb.Batch) error {
	for _, space := range tx.flushed {
		if err := flush(b, space); err != nil {
			return err
		}
	}
	for i := range tx.cells {
		if c := &tx.cells[i]; c.written() {
			if err := c.write(b); err != nil {
				return err
			}
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
	return nil
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

// write writes the change of one record to b.
func (c *cell) write(b *pebbledb.Batch) error {
	if c.drop != ttl.Never {
		if err := deleteIndex(b, c.drop, c.place, c.name); err != nil {
			return err
		}
	}
	if c.add != ttl.Never {
		if err := setIndex(b, c.add, c.place, c.name); err != nil {
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
