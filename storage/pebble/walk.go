package pebble

import (
	"bytes"
	"fmt"
	"slices"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/dirty"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
)

// walker goes along the records of a space in the order of their positions: those of the tree, with
// the memory laid over them, and over both what a transaction has changed. It holds no stripe and sees
// all of one instant, up to end: when it takes what the memory has of some ranges nobody commits.
type walker struct {
	it   *pebbledb.Iterator
	over []dirty.Record  // what lies over the tree from where the walker stands
	end  layout.HashSlot // of what it knows
	last bool            // nothing lies behind end
	name []byte          // scratch
}

// layer is what a transaction has changed of a space, in order, and whether it emptied it before.
type layer struct {
	records []dirty.Record
	bare    bool
}

// manyRecords is from where on a page is so long that it is not worth a look at where it will end.
const manyRecords = 1 << 14

// newWalker returns a walker from cursor on that knows enough for limit records. The caller closes it.
func (e *Engine) newWalker(space uint16, cursor uint64, limit int, above layer) (_ *walker, err error) {
	from := layout.SlotOf(space, cursor)
	w := &walker{last: true}
	var memory *dirty.Memory
	if memory, w.it, err = e.view(from); err != nil {
		return nil, err
	}
	if limit = max(limit, 1); !above.bare {
		inTree := !memory.Hides(space)
		last := dirty.Parts - 1
		if inTree && limit < manyRecords {
			last = partBehind(w.it, limit)
		}
		end := w.gather(e, memory, space, dirty.PartOf(uint64(from)), last, limit)
		w.last, w.end = end == dirty.Parts, layout.SlotOf(space, dirty.Start(end))
		if inTree {
			w.it.First()
		}
	}
	w.lay(above.records)
	w.over = slices.DeleteFunc(w.over, func(x dirty.Record) bool {
		return layout.HashSlot(x.Place) < from || !w.knows(layout.HashSlot(x.Place))
	})
	return w, nil
}

// view returns the memory and an iterator over the entries of a space that belong together: what the one
// does not have any more the other has, and nothing newer than the one.
func (e *Engine) view(from layout.HashSlot) (*dirty.Memory, *pebbledb.Iterator, error) {
	_, upper := layout.DBBounds(layout.PrefixHeader, from.PhysicalDB())
	for {
		memory := e.memory.Load()
		it, err := e.db.NewIter(&pebbledb.IterOptions{
			LowerBound: layout.AppendRecordKey(nil, layout.PrefixHeader, from, nil),
			UpperBound: upper,
		})
		if err != nil || e.memory.Load() == memory {
			return memory, it, err
		}
		if err := it.Close(); err != nil {
			return nil, nil, err
		}
	}
}

// partBehind returns the part in which the record behind the first n of the tree is, or the last one.
func partBehind(it *pebbledb.Iterator, n int) int {
	for ok := it.First(); ok; ok = it.Next() {
		if n--; n < 0 {
			p, _, _ := layout.SplitRecordKey(it.Key(), layout.PrefixHeader)
			return dirty.PartOf(uint64(p))
		}
	}
	return dirty.Parts - 1
}

// gather takes what the memory has from one part to another, or until that are enough records. It
// returns the part behind.
func (w *walker) gather(e *Engine, memory *dirty.Memory, space uint16, part, last, enough int) int {
	e.commits.Lock()
	for live, n := 0, 0; part <= last && live < enough; part++ {
		w.over = memory.Part(w.over, part, space)
		for ; n < len(w.over); n++ {
			if !w.over[n].State.Gone {
				live++
			}
		}
	}
	e.commits.Unlock()
	w.over = dirty.Newest(w.over)
	return part
}

// lay lays what a transaction has changed over the rest.
func (w *walker) lay(own []dirty.Record) {
	if len(own) == 0 {
		return
	}
	w.over = slices.DeleteFunc(w.over, func(x dirty.Record) bool {
		_, overridden := slices.BinarySearchFunc(own, x, dirty.Record.Compare)
		return overridden
	})
	w.over = append(w.over, own...)
	slices.SortFunc(w.over, dirty.Record.Compare)
}

// knows reports whether a place lies before the end of what the walker knows.
func (w *walker) knows(p layout.HashSlot) bool { return w.last || p < w.end }

// next returns the next record, if there is one that the walker knows of. The name holds until the next
// call.
func (w *walker) next() (p layout.HashSlot, name []byte, x layout.Header, ok bool, err error) {
	for {
		var below dirty.Record
		inTree := w.it.Valid()
		if inTree {
			p, name, ok := layout.SplitRecordKey(w.it.Key(), layout.PrefixHeader)
			if !ok {
				return 0, nil, x, false, fmt.Errorf("entry key of %d bytes: %w", len(w.it.Key()), layout.ErrDamaged)
			}
			below.Place, below.Name = uint64(p), name
			inTree = w.knows(p)
		}
		if len(w.over) == 0 {
			if !inTree {
				return 0, nil, x, false, w.it.Error()
			}
			break
		}
		above := w.over[0]
		order := -1
		if inTree {
			order = above.Compare(below)
		}
		if order > 0 {
			break
		}
		w.over = w.over[1:]
		if order == 0 {
			w.it.Next()
		}
		if !above.State.Gone {
			return layout.HashSlot(above.Place), above.Name, tree.HeaderOf(above.State), true, nil
		}
	}
	b, err := w.it.ValueAndErr()
	if err != nil {
		return 0, nil, x, false, err
	}
	if x, err = layout.DecodeHeader(b); err != nil {
		return 0, nil, x, false, err
	}
	p, name, _ = layout.SplitRecordKey(w.it.Key(), layout.PrefixHeader)
	w.name = append(w.name[:0], name...)
	w.it.Next()
	return p, w.name, x, true, nil
}

// page visits up to limit records, and a few more if they share a position.
func (w *walker) page(db, limit int, fn func(storage.Key, storage.Record) bool) (next uint64, err error) {
	stopped := false
	for n := 0; ; n++ {
		p, name, x, ok, err := w.next()
		switch {
		case err != nil:
			return 0, err
		case !ok && w.last:
			return 0, nil
		case !ok && n < limit:
			return w.end.Hash(), nil
		case !ok:
			return next, nil
		case stopped:
			// Names that share a position and were not visited must come again.
			return p.Hash(), nil
		case n >= limit && n > 0 && p.Hash() >= next:
			return next, nil
		}
		next = p.Hash() + 1
		stopped = !fn(storage.Key{DB: db, Name: name}, x.Record())
	}
}

// Scan implements storage.Reader.
func (r *reader) Scan(db int, cursor uint64, limit int, fn func(storage.Key, storage.Record) bool) (uint64, error) {
	return r.scan(db, cursor, limit, fn, func(uint16) layer { return layer{} })
}

// Scan implements storage.Reader. It reads through the changes made before the call.
func (tx *txn) Scan(db int, cursor uint64, limit int, fn func(storage.Key, storage.Record) bool) (uint64, error) {
	return tx.scan(db, cursor, limit, fn, tx.layer)
}

// layer returns what the transaction has made of a space.
func (tx *txn) layer(space uint16) layer {
	l := layer{bare: slices.Contains(tx.flushed, space)}
	for i := range tx.cells {
		c := &tx.cells[i]
		if !c.changed || c.place.PhysicalDB() != space {
			continue
		}
		s := dirty.State{Gone: true}
		if c.exists {
			s = tree.StateOf(c.now)
		}
		l.records = append(l.records, dirty.Record{Place: uint64(c.place), Name: bytes.Clone(c.name), State: s})
	}
	slices.SortFunc(l.records, dirty.Record.Compare)
	return l
}

func (r *reader) scan(db int, cursor uint64, limit int, fn func(storage.Key, storage.Record) bool, above func(space uint16) layer) (uint64, error) {
	if cursor >= storage.MaxCursor {
		return 0, nil
	}
	w, err := r.walk(db, cursor, limit, above)
	if err != nil {
		return 0, pebblefile.ReadError("scan", err)
	}
	next, err := w.page(db, limit, fn)
	if closed := w.it.Close(); err == nil { // which is the error of reading, too
		err = closed
	}
	if err != nil {
		return 0, pebblefile.ReadError("scan", err)
	}
	return next, nil
}

// walk returns a walker along a database.
func (r *reader) walk(db int, cursor uint64, limit int, above func(space uint16) layer) (*walker, error) {
	defer r.lookBeyond()()
	space, err := r.space(db)
	if err != nil {
		return nil, err
	}
	return r.e.newWalker(space, cursor, limit, above(space))
}
