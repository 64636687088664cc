package pebble

import (
	"cmp"
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
	"github.com/sessiond/sessiond/ttl"
)

// recovery makes the changes of the log again. Each is a final state, so what the tree has already is
// only written once more, and of a record that changed often the last state is enough. While it
// runs a record may be as it was at some moment before.
//
// It gathers what became of the records, and writes it in the order in which they lie in the tree:
// a session that was touched a thousand times since the last checkpoint is read and written once, and
// those that lie beside each other one after the other.
type recovery struct {
	tx      *txn
	room    *room
	changes int
	lenient bool // what was there before a change may be unreadable

	records map[string]repeated // by place, big endian <8b>, and name
	bytes   int64               // that they take in memory, about
	most    int64               // of them
	diffs   []difference
	seen    ttl.Instant // ttl.Never if no frame said anything
	fitting int64       // bytes that may be written before the room is measured again
}

// repeated is what the log says became of a record.
type repeated struct {
	kind     changeKind // put, touch or delete
	revision uint64
	deadline ttl.Instant
	record   storage.Kind // of a put
	value    []byte       // of a put
}

const (
	repeatedSize   = 192 // bytes that a record takes in memory beside name and value, about
	repeatedAtOnce = 4096
	toolRepeated   = 8 << 20 // bytes that a tool gathers
)

// newRecovery returns what makes changes in e, whose head was loaded.
func newRecovery(e *Engine) *recovery {
	return &recovery{
		tx:      &txn{reader: reader{e: e}},
		room:    e.room,
		records: map[string]repeated{},
		most:    cmp.Or(memTables*e.room.memTable, toolRepeated),
		seen:    ttl.Never,
	}
}

// repeat makes the changes of one frame. They are in the tree when apply has returned.
func (r *recovery) repeat(f wal.Frame) error {
	origin := originOf(f.Life)
	err := eachChange(f.Payload, func(c *logged) error {
		r.changes++
		switch c.kind {
		case changeFlush:
			return r.flush(c.space)
		case changeSpaces:
			return r.swap(c.spaces)
		case changeSeen:
			r.seen = c.deadline
		default:
			r.diffs = addDifference(r.diffs, c.place.space(), c.difference())
			r.add(c, origin)
		}
		return nil
	})
	if err != nil || r.bytes < r.most {
		return err
	}
	return r.apply()
}

// add notes what became of a record.
func (r *recovery) add(c *logged, origin uint64) {
	key := append(binary.BigEndian.AppendUint64(nil, uint64(c.place)), c.name...)
	x, known := r.records[string(key)]
	switch {
	case c.kind != changeTouch:
		x = repeated{kind: c.kind, record: c.record, value: slices.Clone(c.value)}
		r.bytes += int64(len(c.value))
	case !known:
		x.kind = changeTouch
	case x.kind == changeDelete:
		return
	}
	if c.kind != changeDelete {
		x.deadline, x.revision = c.deadline, origin+c.revision
		raise(&r.tx.e.revisions, x.revision)
	}
	if !known {
		r.bytes += int64(len(key)) + repeatedSize
	}
	r.records[string(key)] = x
}

// flush empties a space.
func (r *recovery) flush(space uint16) error {
	if err := r.apply(); err != nil {
		return err
	}
	r.tx.flushed = append(r.tx.flushed, space)
	defer r.tx.end()
	if err := r.write(); err != nil {
		return err
	}
	r.tx.e.counters.apply(r.tx.flushed, nil)
	return nil
}

// swap exchanges spaces.
func (r *recovery) swap(to spaces) error {
	r.tx.spaces, r.tx.swapped = to, true
	defer r.tx.end()
	if err := r.write(); err != nil {
		return err
	}
	r.tx.e.layout.spaces = to
	return nil
}

// apply writes what was gathered to the tree.
func (r *recovery) apply() error {
	keys := slices.Sorted(maps.Keys(r.records))
	for len(keys) > 0 {
		n, bytes := 0, 0
		for n < len(keys) && n < repeatedAtOnce && bytes < 1<<20 {
			x := r.records[keys[n]]
			if err := r.lay(keys[n], &x); err != nil {
				return err
			}
			bytes += len(keys[n]) + len(x.value)
			n++
		}
		err := r.write()
		r.tx.end()
		if err != nil {
			return err
		}
		keys = keys[n:]
	}
	clear(r.records)
	r.bytes = 0
	r.tx.e.counters.apply(nil, r.diffs)
	r.diffs = r.diffs[:0]
	return r.writeSeen()
}

// lay adds the cell of a record, as the tree has it and as it became.
func (r *recovery) lay(key string, x *repeated) (err error) {
	tx := r.tx
	name := []byte(key[positionHead:])
	c := cell{place: place(binary.BigEndian.Uint64([]byte(key))), name: name, changed: true, value: x.value, replaced: x.kind == changePut}
	c.was, c.existed, err = tx.entry(c.place, name)
	if err != nil && r.lenient && (isDamage(err) || errors.Is(err, ErrNewerFormat)) {
		c.was, c.existed, err = entry{}, x.kind == changeDelete, nil
	}
	if err != nil {
		return err
	}
	switch {
	case x.kind == changeDelete:
	case x.kind == changePut:
		c.exists = true
		c.now = entry{kind: x.record, deadline: x.deadline, revision: x.revision, size: uint32(len(x.value))}
	case !c.existed:
		return nil // the tree knows already that it was deleted since
	default:
		c.exists, c.now = true, c.was
		c.now.deadline, c.now.revision = x.deadline, x.revision
	}
	tx.cells = append(tx.cells, c)
	return nil
}

// write writes to the tree what stands in tx.
func (r *recovery) write() error {
	tx, e := r.tx, r.tx.e
	if err := r.fits(tx.batchSize()); err != nil {
		return err
	}
	tx.prepare()
	b := e.db.NewBatchWithSize(tx.batchSize())
	errs := []error{tx.build(b)}
	if tx.earliest != ttl.Never && tx.earliest < e.index.line() {
		errs = append(errs, e.index.lower(b, tx.earliest))
	}
	return e.apply(b, errs...)
}

// writeSeen writes the time that the last frame with one says was seen.
func (r *recovery) writeSeen() error {
	if r.seen == ttl.Never {
		return nil
	}
	e := r.tx.e
	b := e.db.NewBatch()
	if err := e.apply(b, saveSeen(b, r.seen)); err != nil {
		return err
	}
	e.index.last = r.seen
	e.index.seen.Store(int64(r.seen))
	r.seen = ttl.Never
	return nil
}

// fits returns ErrFull if the disk has no room for the tables of what is recovered: Pebble would
// try to write them until it has, and never return.
func (r *recovery) fits(n int) error {
	if r.fitting -= int64(n); r.fitting > 0 {
		return nil
	}
	r.fitting = r.room.memTable / 4
	return r.room.fits()
}
