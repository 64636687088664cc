package pebble

import (
	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/dirty"
	"github.com/sessiond/sessiond/storage/pebble/internal/diskspace"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
	"github.com/sessiond/sessiond/ttl"
)

// commit writes the changes to the log, as one frame, and then lays them over the tree, which makes
// them visible. The stripes are held.
func (tx *txn) commit() (storage.Barrier, error) {
	if !tx.pending() {
		return 0, nil
	}
	e := tx.e
	tx.prepare()
	if err := e.guard.Admit(tx.class(), tx.size); err != nil {
		return 0, err
	}
	for _, generation := range tx.created {
		generation.Add(1)
	}
	if tx.changes == 0 && !tx.swapped && len(tx.flushed) == 0 { // a record came and went
		return 0, nil
	}
	tx.frame = tx.appendFrame(layout.NewFrame(tx.frame))
	if tx.swapped || len(tx.frame) > e.log.Largest() {
		e.databases.mu.Lock() // who walks or counts sees none of it before it is safe
		defer e.databases.mu.Unlock()
	}
	var barrier storage.Barrier
	err := e.record(tx.frame, func(m *dirty.Memory, lsn wal.LSN) {
		if tx.lasting() {
			barrier = storage.Barrier(lsn)
			raise(&e.lasting, uint64(lsn)) // before anybody sees the change
		}
		tx.keep(m)
	})
	if err != nil {
		return 0, err
	}
	if barrier != 0 {
		tx.mark(barrier)
	}
	return barrier, nil
}

// prepare works out what the changes make of the index and of the sizes.
func (tx *txn) prepare() {
	tx.diffs, tx.earliest = tx.diffs[:0], ttl.Never
	tx.changes, tx.size = 0, wal.HeaderSize+len(tx.flushed)*layout.FlushSize
	if tx.swapped {
		tx.size += tx.spaces.MostChange()
	}
	for i := range tx.cells {
		c := &tx.cells[i]
		if !c.written() {
			continue
		}
		tx.changes++
		c.add = c.reindex()
		tx.size += c.changeSize()
		tx.earliest = ttl.Earlier(tx.earliest, c.add)
		tx.diffs = addDifference(tx.diffs, c.place.PhysicalDB(), c.difference())
	}
}

// written reports whether there is anything to write of a cell: not if the record came and went.
func (c *cell) written() bool { return c.changed && (c.existed || c.exists) }

// appendFrame appends what the log gets.
func (tx *txn) appendFrame(dst []byte) []byte {
	for _, space := range tx.flushed {
		dst = layout.AppendFlush(dst, space)
	}
	for i := range tx.cells {
		if c := &tx.cells[i]; c.written() {
			dst = c.appendChange(dst, tx.e.origin)
		}
	}
	if tx.swapped {
		dst = tx.spaces.AppendChange(dst)
	}
	return dst
}

// appendChange appends what became of a record that changed.
func (c *cell) appendChange(dst []byte, origin uint64) []byte {
	before := layout.BeforeOf(c.existed, c.was)
	switch {
	case !c.exists:
		return layout.AppendDelete(dst, before, c.place, c.name)
	case c.replaced:
		return layout.AppendPut(dst, before, c.place, c.now, origin, c.name, c.value)
	}
	return layout.AppendTouch(dst, before, c.place, c.now, origin, c.name)
}

// changeSize returns how many bytes appendChange appends at most.
func (c *cell) changeSize() int {
	if c.exists && c.replaced {
		return layout.MostChange(len(c.name), len(c.value))
	}
	return layout.MostChange(len(c.name), 0)
}

// keep lays the changes over the tree. Commits is held.
func (tx *txn) keep(m *dirty.Memory) {
	e := tx.e
	for _, space := range tx.flushed {
		m.Now().Flush(space)
		e.cache.DropDB(space)
	}
	for i := range tx.cells {
		c := &tx.cells[i]
		if c.written() {
			c.keep(m)
		}
		switch {
		case !c.changed:
		case c.exists:
			e.cache.Put(c.place, c.name, c.now, c.value, c.replaced)
		default:
			e.cache.Drop(c.place, c.name)
		}
	}
	e.counters.apply(tx.flushed, tx.diffs)
	e.index.notice(tx.earliest)
	if tx.swapped {
		e.databases.spaces = tx.spaces
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

// class says what the commit does to the disk.
func (tx *txn) class() diskspace.Class {
	class := diskspace.ClassDelete
	for i := range tx.cells {
		switch c := &tx.cells[i]; {
		case !c.changed || !c.exists:
		case c.replaced:
			return diskspace.ClassInsert
		case c.now.Deadline == ttl.Never || c.extends():
			class = diskspace.ClassExtend
		}
	}
	return class
}

// mark leaves the barrier for whoever reads the records next.
func (tx *txn) mark(b storage.Barrier) {
	for i := range tx.cells {
		c := &tx.cells[i]
		if !c.changed {
			continue
		}
		s := &tx.e.stripes[stripeOf(c.place.Hash())]
		s.newest = max(s.newest, b)
	}
	if tx.swapped || len(tx.flushed) > 0 {
		for i := range tx.e.stripes {
			s := &tx.e.stripes[i]
			s.newest = max(s.newest, b)
		}
	}
}

// reindex sets where the record will be filed, and returns when the sweeper has to look at it anew;
// Never stands for not. An entry of the index that comes due early enough stays where it is, since
// the sweeper looks at the deadline and files the record anew: that makes an extension cheap.
func (c *cell) reindex() (add ttl.Instant) {
	if !c.exists || c.now.Deadline == ttl.Never {
		c.now.Indexed = ttl.Never
		return ttl.Never
	}
	if c.was.Indexed != ttl.Never && c.was.Indexed <= c.now.Deadline {
		c.now.Indexed = c.was.Indexed
		return ttl.Never
	}
	c.now.Indexed = c.now.Deadline
	return c.now.Deadline
}
