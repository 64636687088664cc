package pebble

import (
	"bytes"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
	"github.com/sessiond/sessiond/ttl"
)

// cell is one record a transaction touched: as it was, and as it will be.
type cell struct {
	place    layout.HashSlot
	name     []byte // the caller's
	was, now layout.Header
	existed  bool
	exists   bool
	changed  bool
	replaced bool   // value is what Put stored
	value    []byte // the caller's
	next     int    // one more than the index of the next cell with the same place; 0 ends

	add ttl.Instant // when the sweeper has to look at it anew, set by prepare; Never if it need not
}

// txn is a storage.Txn: a reader with the changes laid over it.
type txn struct {
	reader
	cells   []cell
	heads   map[layout.HashSlot]int // index of the first cell of a place; nil while there are few cells
	flushed []uint16                // spaces that were emptied; cells of theirs came later
	swapped bool
	created []*atomic.Uint64 // generations of the records that were created, gone again or not
	frame   []byte           // scratch

	// Set by prepare.
	changes  int          // cells that are written
	size     int          // bytes of the frame
	diffs    []difference // of the spaces' sizes
	earliest ttl.Instant  // lowest add of the cells; Never if there is none
}

// maxKeptFrame bounds the memory for a frame that a pooled transaction keeps.
const maxKeptFrame = 64 << 10

// fewCells is how many cells are searched one by one.
const fewCells = 8

// end forgets everything, while the stripes are still held.
func (tx *txn) end() {
	tx.reader.end()
	clear(tx.cells)
	tx.cells, tx.heads = tx.cells[:0], nil
	if cap(tx.cells) > maxKept {
		tx.cells = nil
	}
	tx.flushed, tx.swapped, tx.created = nil, false, tx.created[:0]
	if cap(tx.frame) > maxKeptFrame {
		tx.frame = nil
	}
}

// touch returns the cell of an announced key. It is valid until the next touch.
func (tx *txn) touch(k storage.Key) (*cell, error) {
	p, err := tx.find(k)
	if err != nil {
		return nil, err
	}
	if c := tx.cell(p, k.Name); c != nil {
		return c, nil
	}
	c := cell{place: p, name: k.Name}
	if !slices.Contains(tx.flushed, p.PhysicalDB()) {
		if c.was, c.existed, err = tx.stat(p, k.Name); err != nil {
			return nil, err
		}
	}
	c.now, c.exists = c.was, c.existed
	if len(tx.cells) == 0 {
		tx.cells = slices.Grow(tx.cells, len(tx.refs))
	}
	tx.cells = append(tx.cells, c)
	tx.file(len(tx.cells) - 1)
	return &tx.cells[len(tx.cells)-1], nil
}

func (tx *txn) cell(p layout.HashSlot, name []byte) *cell {
	if n := len(tx.cells); n > 0 { // a record is looked at, and then changed
		if c := &tx.cells[n-1]; c.place == p && bytes.Equal(c.name, name) {
			return c
		}
	}
	if tx.heads == nil {
		for i := range tx.cells {
			if c := &tx.cells[i]; c.place == p && bytes.Equal(c.name, name) {
				return c
			}
		}
		return nil
	}
	for i := tx.heads[p]; i != 0; i = tx.cells[i-1].next {
		if c := &tx.cells[i-1]; bytes.Equal(c.name, name) {
			return c
		}
	}
	return nil
}

// file makes the newest cell, cells[i], findable.
func (tx *txn) file(i int) {
	switch {
	case tx.heads != nil:
		tx.cells[i].next = tx.heads[tx.cells[i].place]
		tx.heads[tx.cells[i].place] = i + 1
	case len(tx.cells) > fewCells:
		tx.heads = make(map[layout.HashSlot]int, max(len(tx.refs), 2*len(tx.cells)))
		for j := range tx.cells {
			tx.file(j)
		}
	}
}

// Get implements storage.Reader.
func (tx *txn) Get(k storage.Key) (storage.Record, bool, error) {
	c, err := tx.touch(k)
	if err != nil || !c.exists {
		return storage.Record{}, false, err
	}
	rec := c.now.Record()
	if rec.Value = c.value; !c.replaced { // the store has it as it was
		_, rec.Value, _, err = tx.load(c.place, c.name)
	}
	return rec, err == nil, err
}

// Stat implements storage.Reader.
func (tx *txn) Stat(k storage.Key) (storage.Record, bool, error) {
	c, err := tx.touch(k)
	if err != nil || !c.exists {
		return storage.Record{}, false, err
	}
	return c.now.Record(), true, nil
}

// Put implements storage.Txn.
func (tx *txn) Put(k storage.Key, r storage.Record) error {
	if r.Deadline < 0 {
		return errDeadline(r.Deadline)
	}
	if len(r.Value) > layout.MaxValue {
		return fmt.Errorf("value of %d bytes: the limit is %d", len(r.Value), layout.MaxValue)
	}
	c, err := tx.touch(k)
	if err != nil {
		return err
	}
	if !c.exists {
		tx.created = append(tx.created, tx.e.generations.at(k.DB, c.place.Hash()))
	}
	c.exists, c.changed, c.replaced = true, true, true
	c.value = r.Value
	if c.value == nil {
		c.value = []byte{}
	}
	c.now = layout.Header{Kind: r.Kind, Deadline: r.Deadline, Revision: tx.e.revisions.Add(1), Size: uint32(len(r.Value))}
	return nil
}

// SetDeadline implements storage.Txn.
func (tx *txn) SetDeadline(k storage.Key, deadline ttl.Instant) error {
	if deadline < 0 {
		return errDeadline(deadline)
	}
	c, err := tx.touch(k)
	if err != nil {
		return err
	}
	if !c.exists {
		return storage.ErrNotFound
	}
	c.changed = true
	c.now.Deadline, c.now.Revision = deadline, tx.e.revisions.Add(1)
	return nil
}

// Delete implements storage.Txn.
func (tx *txn) Delete(k storage.Key) error {
	c, err := tx.touch(k)
	if err != nil || !c.exists {
		return err
	}
	c.exists, c.changed, c.replaced = false, true, false
	c.now, c.value = layout.Header{}, nil
	return nil
}

// Flush implements storage.Txn.
func (tx *txn) Flush(db int) error {
	if !tx.all {
		return storage.ErrScope
	}
	space, err := tx.space(db)
	if err != nil {
		return err
	}
	tx.cells = slices.DeleteFunc(tx.cells, func(c cell) bool { return c.place.PhysicalDB() == space })
	tx.heads = nil
	for i := range tx.cells {
		tx.cells[i].next = 0
	}
	if len(tx.cells) > 0 {
		tx.file(len(tx.cells) - 1)
	}
	if !slices.Contains(tx.flushed, space) {
		tx.flushed = append(tx.flushed, space)
	}
	return nil
}

// Swap implements storage.Txn.
func (tx *txn) Swap(a, b int) error {
	if !tx.all {
		return storage.ErrScope
	}
	for _, db := range [...]int{a, b} {
		if _, err := tx.space(db); err != nil {
			return err
		}
	}
	if a != b {
		tx.spaces = tx.spaces.Swap(uint16(a), uint16(b))
		tx.swapped = true
	}
	return nil
}

// Len implements storage.Reader.
func (tx *txn) Len(db int) (storage.Count, error) {
	count, err := tx.reader.Len(db)
	if err != nil {
		return storage.Count{}, err
	}
	space, err := tx.space(db)
	if slices.Contains(tx.flushed, space) {
		count = storage.Count{}
	}
	for i := range tx.cells {
		if c := &tx.cells[i]; c.changed && c.place.PhysicalDB() == space {
			count = tree.Sum(count, c.difference())
		}
	}
	return count, err
}

// pending reports whether there is anything to commit.
func (tx *txn) pending() bool {
	return len(tx.flushed) > 0 || tx.swapped ||
		slices.ContainsFunc(tx.cells, func(c cell) bool { return c.changed })
}

func (c *cell) difference() storage.Count {
	was, now := layout.CountOf(c.existed, c.was), layout.CountOf(c.exists, c.now)
	return storage.Count{Records: now.Records - was.Records, Expiring: now.Expiring - was.Expiring}
}

// extends reports whether the cell changed by a later deadline and nothing else.
func (c *cell) extends() bool {
	return c.existed && c.exists && !c.replaced && c.now.Deadline.Extends(c.was.Deadline)
}

func errDeadline(deadline ttl.Instant) error {
	return fmt.Errorf("deadline %d: before the epoch", deadline)
}
