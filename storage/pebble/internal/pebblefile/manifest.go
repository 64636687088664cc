package pebblefile

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A record of a MANIFEST is an edit of the list of tables: a row of fields, each a tag and
// what belongs to it. Numbers are of variable length (v); bytes have their length in front.
// Pebble has no public reader of it, and what is needed of it is little.
//
//	 1  name of the key order, bytes      2  oldest log that is needed, v
//	 3  next file number, v               4  last sequence number, v
//	 6  table that goes: level v | number v                           9  v
//	100, 103, 104  table that comes: level v | number v | size v | bounds |
//	                smallest and largest sequence number v v | (103, 104) more fields
//	105  file that comes and holds parts of tables: number v | size v
//	106  file of parts that goes: number v
//
//	bounds       smallest and largest key, bytes; in 104 a byte stands in front, whose bit 0
//	             says whether these are there, and the bounds of the range keys follow
//	more fields  each a tag and bytes, up to tag 1; tag 66 has no bytes but the number of the
//	             file that the table is a part of, v
const (
	editOrder, editOldestLog, editNextFile, editSequence = 1, 2, 3, 4
	editDrop, editPreviousLog                            = 6, 9
	editAdd, editAddMore, editAddRanges                  = 100, 103, 104
	editAddFile, editDropFile                            = 105, 106

	moreEnd, morePart = 1, 66
	boundsHavePoints  = 1
)

// inventory is what a MANIFEST says a store consists of.
type inventory struct {
	tables map[uint64]uint64 // size by number
	files  map[uint64]uint64 // of files that hold parts of tables, likewise
}

// apply applies a record of a MANIFEST. It refuses what the version of Pebble that
// pebbleFormat stands for does not write.
func (v *inventory) apply(record []byte) error {
	d := editDecoder{rest: record}
	for len(d.rest) > 0 && !d.cut {
		switch tag := d.number(); tag {
		case editOrder:
			d.skip()
		case editOldestLog, editNextFile, editSequence, editPreviousLog:
			d.number()
		case editDrop:
			d.number()
			delete(v.tables, d.number())
		case editAdd, editAddMore, editAddRanges:
			number, size, part := d.table(tag)
			if !part {
				v.tables[number] = size
			}
		case editAddFile:
			number := d.number()
			v.files[number] = d.number()
		case editDropFile:
			delete(v.files, d.number())
		default:
			return fmt.Errorf("edit with tag %d", tag)
		}
	}
	if d.cut {
		return fmt.Errorf("edit of %d bytes is cut off", len(record))
	}
	return nil
}

// editDecoder takes fields off the front of an edit.
type editDecoder struct {
	rest []byte
	cut  bool // a field goes beyond the end
}

func (d *editDecoder) number() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.cut, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *editDecoder) skip() {
	n := d.number()
	if n > math.MaxInt32 || int(n) > len(d.rest) {
		d.cut, d.rest = true, nil
		return
	}
	d.rest = d.rest[n:]
}

// table takes off a table that comes. A part is not a file of its own.
func (d *editDecoder) table(tag uint64) (number, size uint64, part bool) {
	d.number() // level
	number, size = d.number(), d.number()
	bounds := 1
	if tag == editAddRanges {
		if len(d.rest) > 0 && d.rest[0]&boundsHavePoints != 0 {
			bounds = 2
		}
		d.rest = d.rest[min(1, len(d.rest)):]
	}
	for range bounds {
		d.skip()
		d.skip()
	}
	d.number() // sequence numbers
	d.number()
	for more := tag != editAdd; more && !d.cut; {
		switch d.number() {
		case moreEnd:
			more = false
		case morePart:
			d.number()
			part = true
		default:
			d.skip()
		}
	}
	return number, size, part
}
