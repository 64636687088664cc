package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage/pebble/internal/dirty"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/ttl"
)

// treeWriter writes a generation to the tree, in batches: what a store that was killed has of them the
// log says again. Only what the log lacks comes in one step with the rest.
type treeWriter struct {
	ctx      context.Context
	e        *Engine
	whole    bool // one batch
	insist   bool
	patch    bool // records may be missing, and values others: see salvage
	most     int  // bytes from which on a batch is applied
	b        *pebbledb.Batch
	earliest ttl.Instant // under which the index has the records; Never if it has none of them
	reader   reader      // of the tree
}

// batchBytes is about a millisecond's work.
const batchBytes = 256 << 10

func newTreeWriter(ctx context.Context, e *Engine) *treeWriter {
	w := &treeWriter{ctx: ctx, e: e, most: batchBytes, reader: reader{e: e}}
	if kept := e.large.threshold; kept > 0 {
		w.most = min(w.most, kept/2) // Pebble keeps larger ones as they are
	}
	w.b = e.db.NewBatchWithSize(w.most)
	return w
}

// write writes what the generation changed; the last batch is left to finish.
func (w *treeWriter) write(g *dirty.Generation) error {
	for _, space := range g.Flushed() {
		if err := flush(w.b, space); err != nil {
			return err
		}
	}
	for _, key := range g.Stale() {
		if err := w.b.Delete(key, nil); err != nil {
			return err
		}
		if err := w.next(); err != nil {
			return err
		}
	}
	for r := range g.All() {
		if err := w.record(&r); err != nil {
			return err
		}
		if err := w.next(); err != nil {
			return err
		}
	}
	return nil
}

// finish applies the last batch, unless there was an error before.
func (w *treeWriter) finish(built ...error) error {
	if err := errors.Join(built...); err != nil {
		return errors.Join(err, w.b.Close())
	}
	return w.e.apply(w.b)
}

// next begins another batch if this one is long enough.
func (w *treeWriter) next() error {
	if w.whole || w.b.Len() < w.most {
		return nil
	}
	if !w.patch {
		if err := w.e.awaitTree(w.ctx, w.insist); err != nil {
			return err
		}
	}
	runtime.Gosched() // commands that wait for a processor come first
	b := w.b
	w.b = w.e.db.NewBatchWithSize(w.most)
	return w.e.apply(b)
}

// record writes what became of a record.
func (w *treeWriter) record(r *dirty.Record) error {
	p, s := layout.HashSlot(r.Place), &r.State
	if s.Filed != 0 && (s.Gone || s.Filed != s.Indexed) {
		if err := deleteIndex(w.b, ttl.Instant(s.Filed), p, r.Name); err != nil {
			return err
		}
	}
	if s.Gone {
		return errors.Join(deletePosition(w.b, layout.PrefixHeader, p, r.Name), deletePosition(w.b, layout.PrefixValue, p, r.Name))
	}
	if w.patch && !s.Whole {
		x, found, err := w.reader.treeEntry(p, r.Name)
		if !found || err != nil {
			return nil // the value is lost, and whoever reads on tells of what cannot be read
		}
		s.Kind, s.Size = byte(x.Kind), x.Size
	}
	w.earliest = earlier(w.earliest, ttl.Instant(s.Indexed)) // though the tree has it: a sweep may have passed there
	if s.Indexed != 0 && s.Filed != s.Indexed {
		if err := setIndex(w.b, ttl.Instant(s.Indexed), p, r.Name); err != nil {
			return err
		}
	}
	if err := setEntry(w.b, p, r.Name, entryOf(*s)); err != nil {
		return err
	}
	if !s.Whole {
		return nil
	}
	op := w.b.SetDeferred(1+layout.SlotSize+len(r.Name), len(s.Value))
	layout.AppendRecordKey(op.Key[:0], layout.PrefixValue, p, r.Name)
	copy(op.Value, s.Value)
	return op.Finish()
}

// write writes the mark to b. Old are the spaces that the tree has.
func (m *mark) write(b *pebbledb.Batch, old layout.PhysicalDBs) error {
	errs := []error{
		b.Set(layout.KeyFollowed, binary.BigEndian.AppendUint64(nil, uint64(m.lsn)), nil),
		b.Set(layout.KeyRevision, binary.BigEndian.AppendUint64(nil, m.revision), nil),
		b.Set(layout.KeyClock, binary.BigEndian.AppendUint64(nil, uint64(m.seen)), nil),
		b.Set(layout.KeyFence, binary.BigEndian.AppendUint64(nil, uint64(m.reached)), nil),
		writeSpaces(b, old, m.spaces),
	}
	for space, count := range m.counts {
		errs = append(errs, b.Set(layout.Numbered(layout.KeyCount, space), layout.EncodeCount(count), nil))
	}
	return errors.Join(errs...)
}

// apply writes b to the tree, and then frees it. Built is what went wrong in building it. The log has
// what is in it, or the caller knows that nobody misses it: so an error is the end of the store.
func (e *Engine) apply(b *pebbledb.Batch, built ...error) (err error) {
	defer e.failPanicked(&err)
	e.large.note(b.Len())
	err = errors.Join(built...)
	if err == nil {
		err = e.db.Apply(b, pebbledb.NoSync)
	}
	if err = errors.Join(err, b.Close()); err != nil {
		if err = e.fail(fmt.Errorf("write to the tree: %w", err)); err != nil {
			return err
		}
	}
	return e.failed()
}

// flush removes the records of a space. Their index entries stay for the sweeper.
func flush(b *pebbledb.Batch, space uint16) error {
	for _, prefix := range [...]byte{layout.PrefixValue, layout.PrefixHeader} {
		lower, upper := layout.DBBounds(prefix, space)
		if err := b.DeleteRange(lower, upper, nil); err != nil {
			return err
		}
	}
	return nil
}

// writeSpaces writes to b how s becomes t.
func writeSpaces(b *pebbledb.Batch, s, t layout.PhysicalDBs) error {
	for db := range s {
		if _, stays := t[db]; stays {
			continue
		}
		if err := b.Delete(layout.Numbered(layout.KeyPhysicalDB, db), nil); err != nil {
			return err
		}
	}
	for db, space := range t {
		if err := b.Set(layout.Numbered(layout.KeyPhysicalDB, db), binary.BigEndian.AppendUint16(nil, space), nil); err != nil {
			return err
		}
	}
	return nil
}

func setEntry(b *pebbledb.Batch, p layout.HashSlot, name []byte, x layout.Header) error {
	op := b.SetDeferred(1+layout.SlotSize+len(name), layout.HeaderSize)
	layout.AppendRecordKey(op.Key[:0], layout.PrefixHeader, p, name)
	x.Encode(op.Value)
	return op.Finish()
}

func deletePosition(b *pebbledb.Batch, prefix byte, p layout.HashSlot, name []byte) error {
	op := b.DeleteDeferred(1 + layout.SlotSize + len(name))
	layout.AppendRecordKey(op.Key[:0], prefix, p, name)
	return op.Finish()
}

func setIndex(b *pebbledb.Batch, due ttl.Instant, p layout.HashSlot, name []byte) error {
	op := b.SetDeferred(1+8+layout.SlotSize+len(name), 0)
	layout.AppendIndexKey(op.Key[:0], due, p, name)
	return op.Finish()
}

func deleteIndex(b *pebbledb.Batch, due ttl.Instant, p layout.HashSlot, name []byte) error {
	op := b.DeleteDeferred(1 + 8 + layout.SlotSize + len(name))
	layout.AppendIndexKey(op.Key[:0], due, p, name)
	return op.Finish()
}
