// Package tree reads and writes what a store has in its tree, which is a Pebble database: records,
// the sweeper's index and the mark of a checkpoint. It brings what package dirty holds to the tree,
// and replays the frames of the log into package dirty. It knows no engine: whoever reads a damaged
// store uses it as an engine does.
package tree

import (
	"encoding/binary"
	"errors"
	"fmt"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
	"github.com/sessiond/sessiond/ttl"
)

// Mark is what is true of a store at one place in the log. A checkpoint writes it behind the records.
type Mark struct {
	Followed wal.LSN                  // the place: the tree has everything before it
	Revision uint64                   // no higher one was used
	Clock    ttl.Instant              // see storage.Engine.Seen
	Fence    ttl.Instant              // no valid index entry of the tree lies below
	DBs      layout.PhysicalDBs       // of the databases
	Counts   map[uint16]storage.Count // sizes, by physical database
}

// Write writes the mark to b. Old are the physical databases that the tree has.
func (m *Mark) Write(b *pebbledb.Batch, old layout.PhysicalDBs) error {
	errs := []error{
		b.Set(layout.KeyFollowed, binary.BigEndian.AppendUint64(nil, uint64(m.Followed)), nil),
		b.Set(layout.KeyRevision, binary.BigEndian.AppendUint64(nil, m.Revision), nil),
		b.Set(layout.KeyClock, binary.BigEndian.AppendUint64(nil, uint64(m.Clock)), nil),
		b.Set(layout.KeyFence, binary.BigEndian.AppendUint64(nil, uint64(m.Fence)), nil),
		writeDBs(b, old, m.DBs),
	}
	for physical, count := range m.Counts {
		errs = append(errs, b.Set(layout.Numbered(layout.KeyCount, physical), layout.EncodeCount(count), nil))
	}
	return errors.Join(errs...)
}

// writeDBs writes to b how old becomes now.
func writeDBs(b *pebbledb.Batch, old, now layout.PhysicalDBs) error {
	for db := range old {
		if _, stays := now[db]; stays {
			continue
		}
		if err := b.Delete(layout.Numbered(layout.KeyPhysicalDB, db), nil); err != nil {
			return err
		}
	}
	for db, physical := range now {
		if err := b.Set(layout.Numbered(layout.KeyPhysicalDB, db), binary.BigEndian.AppendUint16(nil, physical), nil); err != nil {
			return err
		}
	}
	return nil
}

// WriteIdentity writes to b what a store has from the beginning: its format and its seed.
func WriteIdentity(b *pebbledb.Batch, seed layout.Seed) error {
	key := binary.BigEndian.AppendUint64(nil, seed.K0)
	return errors.Join(
		b.Set(layout.KeyFormat, binary.BigEndian.AppendUint32(nil, layout.FormatVersion), nil),
		b.Set(layout.KeySeed, binary.BigEndian.AppendUint64(key, seed.K1), nil),
	)
}

// Part is a part of the head of a store: what exists once in it, or once for each database.
type Part int

// The parts of a head, in the order in which they are read.
const (
	Format Part = iota
	Seed
	Followed
	Revision
	Clock
	Fence
	DBs
	Counts
)

// Head is what exists once in a store, as far as it can be read.
type Head struct {
	Format uint32
	Seed   layout.Seed
	Mark
	// Problems are the errors of the parts that cannot be used: what was read of them is zero.
	Problems map[Part]error
}

// Errors of the parts of a head.
var (
	ErrMissing   = fmt.Errorf("missing: %w", layout.ErrDamaged)
	ErrSenseless = fmt.Errorf("the swaps of databases make no sense: %w", layout.ErrDamaged)
)

// SizeError is the error of a part that has another size than it should.
type SizeError struct {
	Key       string
	Got, Want int
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%s of %d bytes, not %d: %v", e.Key, e.Got, e.Want, layout.ErrDamaged)
}

// Unwrap makes it damage.
func (e *SizeError) Unwrap() error { return layout.ErrDamaged }

// ReadHead reads the head key by key, so that a part that is lost does not take the others with it.
func ReadHead(db pebbledb.Reader) *Head {
	h := &Head{Problems: map[Part]error{}}
	if b := h.read(db, Format, layout.KeyFormat, 4, true); b != nil {
		h.Format = binary.BigEndian.Uint32(b)
	}
	if b := h.read(db, Seed, layout.KeySeed, 16, true); b != nil {
		h.Seed = layout.Seed{K0: binary.BigEndian.Uint64(b), K1: binary.BigEndian.Uint64(b[8:])}
	}
	h.Followed = wal.LSN(h.number(db, Followed, layout.KeyFollowed, true))
	h.Revision = h.number(db, Revision, layout.KeyRevision, true)
	h.Clock = ttl.Instant(h.number(db, Clock, layout.KeyClock, false))
	h.Fence = ttl.Instant(h.number(db, Fence, layout.KeyFence, false))
	h.readDBs(db)
	h.readCounts(db)
	return h
}

// Knows reports whether a part was read, or is rightly absent.
func (h *Head) Knows(p Part) bool { return h.Problems[p] == nil }

// Err returns the error of the first part that cannot be used, or nil.
func (h *Head) Err() error {
	for p := Format; p <= Counts; p++ {
		if err := h.Problems[p]; err != nil {
			return err
		}
	}
	return nil
}

func (h *Head) number(db pebbledb.Reader, p Part, key []byte, must bool) uint64 {
	if b := h.read(db, p, key, 8, must); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// read returns a copy of a value of size bytes, or nil if there is none or it cannot be used.
func (h *Head) read(db pebbledb.Reader, p Part, key []byte, size int, must bool) []byte {
	value, closer, err := db.Get(key)
	switch {
	case errors.Is(err, pebbledb.ErrNotFound) && !must:
		return nil
	case errors.Is(err, pebbledb.ErrNotFound):
		h.Problems[p] = fmt.Errorf("%s is %w", key[1:], ErrMissing)
		return nil
	case err != nil:
		h.Problems[p] = err
		return nil
	}
	b := append([]byte(nil), value...)
	if err := closer.Close(); err != nil {
		h.Problems[p] = err
		return nil
	}
	if len(b) != size {
		h.Problems[p] = &SizeError{string(key[1:]), len(b), size}
		return nil
	}
	return b
}

// readDBs reads which databases were swapped. Every physical database that one has must be given by
// another.
func (h *Head) readDBs(db pebbledb.Reader) {
	moved, used := layout.PhysicalDBs{}, map[uint16]bool{}
	valid := true
	err := eachNumbered(db, layout.KeyPhysicalDB, func(logical uint16, value []byte) error {
		if len(value) != 2 {
			valid = false
			return nil
		}
		physical := binary.BigEndian.Uint16(value)
		valid = valid && physical != logical && !used[physical]
		moved[logical], used[physical] = physical, true
		return nil
	})
	for physical := range used {
		_, gave := moved[physical]
		valid = valid && gave
	}
	switch {
	case err != nil:
		h.Problems[DBs] = err
	case !valid:
		h.Problems[DBs] = ErrSenseless
	default:
		h.DBs = moved
	}
}

func (h *Head) readCounts(db pebbledb.Reader) {
	h.Counts = map[uint16]storage.Count{}
	err := eachNumbered(db, layout.KeyCount, func(physical uint16, value []byte) (err error) {
		h.Counts[physical], err = layout.DecodeCount(value)
		return err
	})
	if err != nil {
		h.Problems[Counts] = err
	}
}

// eachNumbered calls fn for the keys that layout.Numbered has made of key.
func eachNumbered(db pebbledb.Reader, key []byte, fn func(number uint16, value []byte) error) (err error) {
	it, err := db.NewIter(&pebbledb.IterOptions{
		LowerBound: layout.Numbered(key, 0),
		UpperBound: append(layout.Numbered(key, layout.MaxPhysicalDB), 0),
	})
	if err != nil {
		return err
	}
	defer func() {
		if closed := it.Close(); err == nil { // which is the error of reading, too
			err = closed
		}
	}()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if err := fn(binary.BigEndian.Uint16(it.Key()[len(key):]), value); err != nil {
			return err
		}
	}
	return nil
}
