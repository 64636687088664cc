package pebble

import (
	"encoding/binary"
	"fmt"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
	"github.com/sessiond/sessiond/ttl"
)

// A frame of the log is one commit: a row of what it changed, in the order in which it is to be
// done again. It holds final states and never differences, so to do it twice is to do it once.
//
//	put      1, flags <1b> | place <8b> | revision (v) | deadline, Unix ms (v) | kind <1b> |
//	         bytes of the name (v) | bytes of the value (v) | name | value
//	touch    2, flags <1b> | place <8b> | revision (v) | deadline, Unix ms (v) | kind <1b> |
//	         bytes of the name (v) | bytes of the value (v) | name
//	delete   3, flags <1b> | place <8b> | bytes of the name (v) | name
//	flush    4 <1b> | space <2b>
//	spaces   5 <1b> | how many (v) | database <2b>, space <2b> ...    all where the two differ
//	seen     6 <1b> | Unix ms (v)
//
// Numbers of fixed size are little endian; (v) is one of variable size. Revisions are counted from
// origin of the life of the frame. The flags say what there was before: so the sizes of the
// databases follow from the log alone. A touch says what kind the value has and how many bytes, though
// they did not change: so a start knows all but the value without the tree.
type changeKind byte

const (
	changePut changeKind = 1 + iota
	changeTouch
	changeDelete
	changeFlush
	changeSpaces
	changeSeen

	changeKinds  = 0x3f
	flagExisted  = 0x80 // there was a record
	flagExpiring = 0x40 // and it had a deadline
)

// logged is a part of a frame, as it is read.
type logged struct {
	kind     changeKind
	revision uint64
	existed  bool
	expiring bool
	place    place
	name     []byte // part of the frame
	value    []byte // part of the frame
	size     uint64 // of the value
	record   storage.Kind
	deadline ttl.Instant // of the record; or what seen says
	space    uint16
	spaces   spaces
}

// newFrame returns dst with room for the head of a frame.
func newFrame(dst []byte) []byte { return append(dst[:0], make([]byte, wal.HeaderSize)...) }

// before is what there was under a key before a change.
type before byte

// beforeExpiry is that there was a record with a deadline.
const beforeExpiry before = flagExisted | flagExpiring

// beforeOf returns what the log says of a record that was there before a change, or was not.
func beforeOf(existed bool, was entry) (b before) {
	if existed {
		b |= flagExisted
		if was.deadline != ttl.Never {
			b |= flagExpiring
		}
	}
	return b
}

// appendPut appends that a record got a value.
func appendPut(dst []byte, b before, p place, now entry, origin uint64, name, value []byte) []byte {
	return append(appendNow(dst, changePut, b, p, now, origin, name), value...)
}

// appendTouch appends that a record changed and kept its value.
func appendTouch(dst []byte, b before, p place, now entry, origin uint64, name []byte) []byte {
	return appendNow(dst, changeTouch, b, p, now, origin, name)
}

func appendNow(dst []byte, kind changeKind, b before, p place, now entry, origin uint64, name []byte) []byte {
	dst = append(dst, byte(kind)|byte(b))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(p))
	dst = binary.AppendUvarint(dst, now.revision-origin)
	dst = binary.AppendUvarint(dst, uint64(now.deadline))
	dst = append(dst, byte(now.kind))
	dst = binary.AppendUvarint(dst, uint64(len(name)))
	dst = binary.AppendUvarint(dst, uint64(now.size))
	return append(dst, name...)
}

// appendDelete appends that a record was removed.
func appendDelete(dst []byte, b before, p place, name []byte) []byte {
	dst = append(dst, byte(changeDelete)|byte(b))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(p))
	dst = binary.AppendUvarint(dst, uint64(len(name)))
	return append(dst, name...)
}

// mostChange returns how many bytes the change of a record takes at most.
func mostChange(name, value int) int { return 1 + 8 + 4*binary.MaxVarintLen64 + 1 + name + value }

const flushSize = 1 + 2

func appendFlush(dst []byte, space uint16) []byte {
	return binary.LittleEndian.AppendUint16(append(dst, byte(changeFlush)), space)
}

func appendSeen(dst []byte, now ttl.Instant) []byte {
	return binary.AppendUvarint(append(dst, byte(changeSeen)), uint64(now))
}

// eachChange calls fn for the changes in the payload of a frame. An error that is not fn's says
// that they are not what this program writes, though the frame is whole.
func eachChange(payload []byte, fn func(*logged) error) error {
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

func (d *frameReader) place() place {
	if b := d.bytes(8); !d.bad {
		return place(binary.LittleEndian.Uint64(b))
	}
	return 0
}

func (d *frameReader) change() (c logged) {
	first := d.byte()
	c.kind = changeKind(first & changeKinds)
	c.existed, c.expiring = first&flagExisted != 0, first&flagExpiring != 0
	switch c.kind {
	case changePut, changeTouch:
		c.place, c.revision, c.deadline = d.place(), d.uvarint(), d.instant()
		c.record = storage.Kind(d.byte())
		names := d.uvarint()
		c.size = d.uvarint()
		c.name = d.bytes(names)
		if c.kind == changePut {
			c.value = d.bytes(c.size)
		}
		d.bad = d.bad || c.size > maxValue
	case changeDelete:
		c.place = d.place()
		c.name = d.bytes(d.uvarint())
	case changeFlush:
		c.space = d.uint16()
	case changeSpaces:
		c.spaces = spaces{}
		for n := d.uvarint(); n > 0 && !d.bad; n-- {
			db := d.uint16()
			c.spaces[db] = d.uint16()
		}
	case changeSeen:
		c.deadline = d.instant()
	default:
		d.bad = true
	}
	return c
}

// difference returns what the change of a record makes of the size of its space.
func (c *logged) difference() storage.Count {
	now := storage.Count{}
	if c.kind != changeDelete {
		now = countOf(true, entry{deadline: c.deadline})
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
