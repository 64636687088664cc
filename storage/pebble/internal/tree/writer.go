package tree

import (
	"errors"
	"runtime"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage/pebble/internal/dirty"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/ttl"
)

// Writer brings a generation of changes to the tree, in batches: what a process that was killed has
// brought of them, the log says again. Only what the log lacks goes in one step with the rest. Create
// it with NewWriter.
type Writer struct {
	// Wait is called before each batch but the first. Nil means that nothing is waited for.
	Wait func() error
	// Apply writes a batch and closes it. Nil means that this is Pebble's business alone.
	Apply func(*pebbledb.Batch) error
	// Whole has everything go in one batch.
	Whole bool
	// Patch allows for a tree that lacks records, or has other values than the log took for granted.
	Patch bool
	// Most is from how many bytes on a batch is applied.
	Most int

	db       *pebbledb.DB
	b        *pebbledb.Batch
	earliest ttl.Instant
	key      []byte // scratch
}

// batchBytes is about a millisecond's work.
const batchBytes = 256 << 10

// NewWriter returns a writer to db with a batch begun.
func NewWriter(db *pebbledb.DB) *Writer {
	return &Writer{Most: batchBytes, db: db}
}

// Batch returns the batch that Finish will apply.
func (w *Writer) Batch() *pebbledb.Batch {
	if w.b == nil {
		w.b = w.db.NewBatchWithSize(w.Most)
	}
	return w.b
}

// Earliest returns the lowest index entry of the records that were written; ttl.Never if none has one.
func (w *Writer) Earliest() ttl.Instant { return w.earliest }

// Write writes what the generation changed. The last batch is left to Finish.
func (w *Writer) Write(g *dirty.Generation) error {
	for _, physical := range g.Flushed() {
		if err := emptyDB(w.Batch(), physical); err != nil {
			return err
		}
	}
	for _, key := range g.Stale() {
		if err := w.Batch().Delete(key, nil); err != nil {
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

// Finish applies the last batch, unless there was an error in building it.
func (w *Writer) Finish(built ...error) error {
	b := w.Batch()
	w.b = nil
	if err := errors.Join(built...); err != nil {
		return errors.Join(err, b.Close())
	}
	return w.apply(b)
}

func (w *Writer) apply(b *pebbledb.Batch) error {
	if w.Apply != nil {
		return w.Apply(b)
	}
	return errors.Join(w.db.Apply(b, pebbledb.NoSync), b.Close())
}

// next begins another batch if this one is long enough.
func (w *Writer) next() error {
	if w.Whole || w.Batch().Len() < w.Most {
		return nil
	}
	if w.Wait != nil {
		if err := w.Wait(); err != nil {
			return err
		}
	}
	runtime.Gosched() // commands that wait for a processor come first
	b := w.b
	w.b = nil
	return w.apply(b)
}

// record writes what became of a record.
func (w *Writer) record(r *dirty.Record) error {
	b, slot, s := w.Batch(), layout.HashSlot(r.Place), &r.State
	if s.Filed != 0 && (s.Gone || s.Filed != s.Indexed) {
		if err := deleteIndex(b, ttl.Instant(s.Filed), slot, r.Name); err != nil {
			return err
		}
	}
	if s.Gone {
		return errors.Join(deleteRecordKey(b, layout.PrefixHeader, slot, r.Name), deleteRecordKey(b, layout.PrefixValue, slot, r.Name))
	}
	if w.Patch && !s.Whole {
		x, found, key, err := ReadHeader(w.db, w.key, slot, r.Name)
		if w.key = key; !found || err != nil {
			return nil // the value is lost, and whoever reads on says what cannot be read
		}
		s.Kind, s.Size = byte(x.Kind), x.Size
	}
	w.earliest = ttl.Earlier(w.earliest, ttl.Instant(s.Indexed)) // though the tree has it: a sweep may have passed there
	if s.Indexed != 0 && s.Filed != s.Indexed {
		if err := SetIndex(b, ttl.Instant(s.Indexed), slot, r.Name); err != nil {
			return err
		}
	}
	if err := SetHeader(b, slot, r.Name, HeaderOf(*s)); err != nil {
		return err
	}
	if !s.Whole {
		return nil
	}
	return setValue(b, slot, r.Name, s.Value)
}
