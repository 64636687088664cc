package layout

import (
	"encoding/binary"
	"fmt"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
	"github.com/sessiond/sessiond/ttl"
)

// ChangeKind says which change a part of a frame is. A frame of the log is one commit: what it
// changed, in the order in which it is to be done again. It holds final states and never
// differences, so to do it twice is to do it once.
//
//	put        1, flags <1b> | slot <8b> | revision (v) | deadline, Unix ms (v) | kind <1b> |
//	           bytes of the name (v) | bytes of the value (v) | name | value
//	touch      2, flags <1b> | slot <8b> | revision (v) | deadline, Unix ms (v) | kind <1b> |
//	           bytes of the name (v) | bytes of the value (v) | name
//	delete     3, flags <1b> | slot <8b> | bytes of the name (v) | name
//	flush      4 <1b> | physical database <2b>
//	databases  5 <1b> | how many (v) | database <2b>, physical database <2b> ...    where the two differ
//	clock      6 <1b> | Unix ms (v)
//
// Numbers of fixed size are little endian; (v) is one of variable size. Revisions are counted from
// the origin of the life that wrote the frame. The flags say what there was before, so the sizes of
// the databases follow from the log alone. A touch repeats the kind and the size of the value, which
// did not change, so a start knows everything but the value without the tree.
type ChangeKind byte

const (
	ChangePut ChangeKind = 1 + iota
	ChangeTouch
	ChangeDelete
	ChangeFlush
	ChangePhysicalDBs
	ChangeClock

	ChangeKinds  = 0x3f
	flagExisted  = 0x80 // there was a record
	flagExpiring = 0x40 // and it had a deadline
)

// Change is one change of a frame that was read. Its kind says which fields are set.
type Change struct {
	Kind        ChangeKind
	Revision    uint64
	existed     bool
	expiring    bool
	Slot        HashSlot
	Name        []byte // part of the frame
	Value       []byte // part of the frame
	Size        uint64 // of the value
	Record      storage.Kind
	Deadline    ttl.Instant // of the record; or the time of ChangeClock
	PhysicalDB  uint16
	PhysicalDBs PhysicalDBs
}

// NewFrame returns dst with room for the head of a frame.
func NewFrame(dst []byte) []byte { return append(dst[:0], make([]byte, wal.HeaderSize)...) }

// Before says what there was under a key before a change.
type Before byte

// BeforeExpiry says that there was a record with a deadline.
const BeforeExpiry Before = flagExisted | flagExpiring

// BeforeOf returns what the log says of a record that was there before a change, or was not.
func BeforeOf(existed bool, was Header) (b Before) {
	if existed {
		b |= flagExisted
		if was.Deadline != ttl.Never {
			b |= flagExpiring
		}
	}
	return b
}

// AppendPut appends that a record got a value.
func AppendPut(dst []byte, b Before, p HashSlot, now Header, origin uint64, name, value []byte) []byte {
	return append(appendNow(dst, ChangePut, b, p, now, origin, name), value...)
}

// AppendTouch appends that a record changed and kept its value.
func AppendTouch(dst []byte, b Before, p HashSlot, now Header, origin uint64, name []byte) []byte {
	return appendNow(dst, ChangeTouch, b, p, now, origin, name)
}

func appendNow(dst []byte, kind ChangeKind, b Before, p HashSlot, now Header, origin uint64, name []byte) []byte {
	dst = append(dst, byte(kind)|byte(b))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(p))
	dst = binary.AppendUvarint(dst, now.Revision-origin)
	dst = binary.AppendUvarint(dst, uint64(now.Deadline))
	dst = append(dst, byte(now.Kind))
	dst = binary.AppendUvarint(dst, uint64(len(name)))
	dst = binary.AppendUvarint(dst, uint64(now.Size))
	return append(dst, name...)
}

// AppendDelete appends that a record was removed.
func AppendDelete(dst []byte, b Before, p HashSlot, name []byte) []byte {
	dst = append(dst, byte(ChangeDelete)|byte(b))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(p))
	dst = binary.AppendUvarint(dst, uint64(len(name)))
	return append(dst, name...)
}

// MostChange returns how many bytes the change of a record takes at most.
func MostChange(name, value int) int { return 1 + 8 + 4*binary.MaxVarintLen64 + 1 + name + value }

const FlushSize = 1 + 2 // bytes that AppendFlush appends

// AppendFlush appends that a physical database was emptied.
func AppendFlush(dst []byte, physical uint16) []byte {
	return binary.LittleEndian.AppendUint16(append(dst, byte(ChangeFlush)), physical)
}

// AppendClock appends the time of a sweep.
func AppendClock(dst []byte, now ttl.Instant) []byte {
	return binary.AppendUvarint(append(dst, byte(ChangeClock)), uint64(now))
}

// EachChange calls fn for the changes in the payload of a frame. An error that is not fn's says
// that they are not what this program writes, though the frame is whole.
func EachChange(payload []byte, fn func(*Change) error) error {
	for d := (frameReader{rest: payload}); len(d.rest) > 0; {
		c := d.change()
		if d.bad {
			return fmt.Errorf("a frame holds what is no change: %w", ErrDamaged)
		}
		if err := fn(&c); err != nil {
			return err
		}
	}
	return nil
}

// frameReader takes changes off the front of a payload.
type frameReader struct {
	rest []byte
	bad  bool
}

func (d *frameReader) bytes(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.bad, d.rest = true, nil
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *frameReader) byte() byte {
	if b := d.bytes(1); !d.bad {
		return b[0]
	}
	return 0
}

func (d *frameReader) uint16() uint16 {
	if b := d.bytes(2); !d.bad {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (d *frameReader) uvarint() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *frameReader) instant() ttl.Instant {
	t := ttl.Instant(d.uvarint())
	d.bad = d.bad || t < 0
	return t
}

func (d *frameReader) place() HashSlot {
	if b := d.bytes(8); !d.bad {
		return HashSlot(binary.LittleEndian.Uint64(b))
	}
	return 0
}

func (d *frameReader) change() (c Change) {
	first := d.byte()
	c.Kind = ChangeKind(first & ChangeKinds)
	c.existed, c.expiring = first&flagExisted != 0, first&flagExpiring != 0
	switch c.Kind {
	case ChangePut, ChangeTouch:
		c.Slot, c.Revision, c.Deadline = d.place(), d.uvarint(), d.instant()
		c.Record = storage.Kind(d.byte())
		names := d.uvarint()
		c.Size = d.uvarint()
		c.Name = d.bytes(names)
		if c.Kind == ChangePut {
			c.Value = d.bytes(c.Size)
		}
		d.bad = d.bad || c.Size > MaxValue
	case ChangeDelete:
		c.Slot = d.place()
		c.Name = d.bytes(d.uvarint())
	case ChangeFlush:
		c.PhysicalDB = d.uint16()
	case ChangePhysicalDBs:
		c.PhysicalDBs = PhysicalDBs{}
		for n := d.uvarint(); n > 0 && !d.bad; n-- {
			db := d.uint16()
			c.PhysicalDBs[db] = d.uint16()
		}
	case ChangeClock:
		c.Deadline = d.instant()
	default:
		d.bad = true
	}
	return c
}

// Difference returns what the change of a record makes of the size of its space.
func (c *Change) Difference() storage.Count {
	now := storage.Count{}
	if c.Kind != ChangeDelete {
		now = CountOf(true, Header{Deadline: c.Deadline})
	}
	was := storage.Count{}
	if c.existed {
		was.Records = 1
		if c.expiring {
			was.Expiring = 1
		}
	}
	return storage.Count{Records: now.Records - was.Records, Expiring: now.Expiring - was.Expiring}
}
