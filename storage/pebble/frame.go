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

// appendChange appends what became of a record that changed.
func (c *cell) appendChange(dst []byte, origin uint64) []byte {
	kind := changeTouch
	switch {
	case !c.exists:
		kind = changeDelete
	case c.replaced:
		kind = changePut
	}
	flags := byte(kind)
	if c.existed {
		flags |= flagExisted
		if c.was.deadline != ttl.Never {
			flags |= flagExpiring
		}
	}
	dst = append(dst, flags)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(c.place))
	if kind == changeDelete {
		dst = binary.AppendUvarint(dst, uint64(len(c.name)))
		return append(dst, c.name...)
	}
	dst = binary.AppendUvarint(dst, c.now.revision-origin)
	dst = binary.AppendUvarint(dst, uint64(c.now.deadline))
	dst = append(dst, byte(c.now.kind))
	dst = binary.AppendUvarint(dst, uint64(len(c.name)))
	dst = binary.AppendUvarint(dst, uint64(c.now.size))
	dst = append(dst, c.name...)
	if kind == changePut {
		dst = append(dst, c.value...)
	}
	return dst
}

// changeSize returns how many bytes appendChange appends at most.
func (c *cell) changeSize() int {
	n := 1 + 8 + 4*binary.MaxVarintLen64 + 1 + len(c.name)
	if c.exists && c.replaced {
		n += len(c.value)
	}
	return n
}

const flushSize = 1 + 2

func appendFlush(dst []byte, space uint16) []byte {
	return binary.LittleEndian.AppendUint16(append(dst, byte(changeFlush)), space)
}

func (s spaces) appendChange(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, byte(changeSpaces)), uint64(len(s)))
	for db, space := range s {
		dst = binary.LittleEndian.AppendUint16(dst, db)
		dst = binary.LittleEndian.AppendUint16(dst, space)
	}
	return dst
}

func (s spaces) changeSize() int { return 1 + binary.MaxVarintLen64 + 4*len(s) }

// appendDelete appends that a record with a deadline was removed.
func appendDelete(dst []byte, p place, name []byte) []byte {
	c := cell{place: p, name: name, existed: true, was: entry{deadline: ttl.Latest}}
	return c.appendChange(dst, 0)
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
