// Package dirty keeps, in memory, the records that changed since the tree last followed the log.
// What it has of a record overrides what the tree has.
//
// A Table is one generation of them: it takes changes until it is frozen, is then written to the
// tree while the next one takes the changes, and is dropped when the tree has it. It never forgets a
// record before, so what a store may have dirty is bounded by the log, whose frames made it.
//
// # Parts, records, memory
//
// A table has a part for each range of positions, so that who holds the lock of a range has the
// part to himself, and so that who walks in the order of positions sorts few records at a time. A
// part is bytes without pointers, in which the garbage collector has nothing to look at:
//
//	record  place <8b> | deadline <8b> | indexed <8b> | filed <8b> | revision <8b> | size <4b> |
//	        bytes of the name <4b> | kind <1b> | flags <1b> | unused <2b> | where the value is <4b> |
//	        name, padded to a multiple of 8
//
// A record stays where it is: a Ref to it holds as long as its table. Its value lies behind some
// record, or by itself if it is large.
//
// # Locks
//
// Of the records none here. Who changes a record holds the caller's lock of its range, and keeps others from stopping
// all changes. Who reads one holds the lock of its range, or has stopped all changes. A table that is
// frozen is read by anybody.
package dirty

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"iter"
	"slices"
)

const (
	partBits = 10
	// Parts is how many parts a table has.
	Parts = 1 << partBits

	hashBits = 48 // of a place; above them is the space
)

// PartOf returns the part of a place: the upper bits of its hash.
func PartOf(place uint64) int { return int(place << (64 - hashBits) >> (64 - partBits)) }

// Start returns the lowest hash of a part; behind the last one it is above all hashes.
func Start(part int) uint64 { return uint64(part) << (hashBits - partBits) }

// State is what a record is, and what the tree knows of it.
type State struct {
	// Gone says that there is no record any more: then nothing else counts but Filed.
	Gone bool
	// Whole says that Value is the record's. Else the value is what it was in the generation
	// before, or in the tree.
	Whole bool
	Kind  byte
	Size  uint32 // of the value, in bytes

	Deadline int64 // Unix ms; 0 is none
	Indexed  int64 // under which the index has to have the record; 0 is nowhere
	Filed    int64 // under which the index of the tree had it when the table first heard of it; 0 is nowhere
	Revision uint64
	Value    []byte
}

// Table is a generation of dirty records. The zero Table is empty.
type Table struct {
	parts [Parts]part
}

// part is the records of a range of positions.
type part struct {
	b     []byte
	slots []uint32 // where records are, in units of 8, plus one; a power of two of them
	used  int
	large [][]byte // values of at least LargeValue
}

const (
	atDeadline   = 8
	atIndexed    = 16
	atFiled      = 24
	atRevision   = 32
	atSize       = 40
	atNameLength = 44
	atKind       = 48
	atFlags      = 49
	atValue      = 52
	head         = 56

	flagGone  = 1 << 0
	flagWhole = 1 << 1
	flagLarge = 1 << 2 // the value is in large

)

// LargeValue is from how many bytes on a value lies by itself and is never overwritten: parts that
// grow are copied.
const LargeValue = 16 << 10

// Ref names a record of a table.
type Ref struct {
	part uint32
	at   uint32 // in units of 8
}

func padded(n int) int { return (n + 7) &^ 7 }

// Mix spreads a place over 64 bits: the places of one part share the upper bits of their hash.
func Mix(place uint64) uint64 {
	x := place * 0x9E3779B97F4A7C15
	return x ^ x>>29
}

// Find returns the record with a name, if the table has something of it.
func (t *Table) Find(place uint64, name []byte) (r Ref, found bool) {
	n := PartOf(place)
	p := &t.parts[n]
	at, _ := p.find(place, name)
	return Ref{uint32(n), at}, at != none
}

const none = 1<<32 - 1

// find returns where a record is, in units of 8, or none and the slot in which it would be.
func (p *part) find(place uint64, name []byte) (at uint32, slot int) {
	if len(p.slots) == 0 {
		return none, -1
	}
	mask := len(p.slots) - 1
	for slot = int(Mix(place)>>16) & mask; p.slots[slot] != 0; slot = (slot + 1) & mask {
		at = p.slots[slot] - 1
		b := p.b[int(at)*8:]
		if binary.LittleEndian.Uint64(b) != place {
			continue
		}
		if n := int(binary.LittleEndian.Uint32(b[atNameLength:])); bytes.Equal(b[head:head+n], name) {
			return at, slot
		}
	}
	return none, slot
}

// Put makes s the state of a record and returns its Ref and how many bytes the table grew. Of a record
// that the table has, Filed stays, and the value if s is not whole. The table keeps a copy of name and
// value.
func (t *Table) Put(place uint64, name []byte, s State) (r Ref, grown int) {
	n := PartOf(place)
	p := &t.parts[n]
	at, slot := p.find(place, name)
	old := len(p.b)
	if at == none {
		at = p.add(place, name, slot)
		binary.LittleEndian.PutUint64(p.b[int(at)*8+atFiled:], uint64(s.Filed))
		grown = slotBytes
	}
	grown += p.set(at, s)
	return Ref{uint32(n), at}, grown + len(p.b) - old
}

const slotBytes = 2 * 4 // half of the slots are empty

// add makes room for a record.
func (p *part) add(place uint64, name []byte, slot int) uint32 {
	if 2*(p.used+1) > len(p.slots) {
		p.grow()
		_, slot = p.find(place, name)
	}
	at := len(p.b)
	p.b = append(p.b, make([]byte, padded(head+len(name)))...)
	b := p.b[at:]
	binary.LittleEndian.PutUint64(b, place)
	binary.LittleEndian.PutUint32(b[atNameLength:], uint32(len(name)))
	copy(b[head:], name)
	p.slots[slot] = uint32(at/8) + 1
	p.used++
	return uint32(at / 8)
}

func (p *part) grow() {
	old := p.slots
	p.slots = make([]uint32, max(8, 2*len(old)))
	mask := len(p.slots) - 1
	for _, s := range old {
		if s == 0 {
			continue
		}
		slot := int(Mix(binary.LittleEndian.Uint64(p.b[int(s-1)*8:]))>>16) & mask
		for p.slots[slot] != 0 {
			slot = (slot + 1) & mask
		}
		p.slots[slot] = s
	}
}

// set makes s the state of the record at at, and returns how many bytes large values grew.
func (p *part) set(at uint32, s State) (grown int) {
	b := p.b[int(at)*8:]
	had := b[atFlags]
	capacity := 0
	if had&(flagWhole|flagLarge) == flagWhole {
		capacity = padded(int(binary.LittleEndian.Uint32(b[atSize:])))
	}
	binary.LittleEndian.PutUint64(b[atDeadline:], uint64(s.Deadline))
	binary.LittleEndian.PutUint64(b[atIndexed:], uint64(s.Indexed))
	binary.LittleEndian.PutUint64(b[atRevision:], s.Revision)
	binary.LittleEndian.PutUint32(b[atSize:], s.Size)
	b[atKind] = s.Kind
	switch {
	case s.Gone:
		b[atFlags] = flagGone
		grown = -p.release(b, had)
	case !s.Whole:
		b[atFlags] = had &^ flagGone
	case len(s.Value) >= LargeValue:
		b[atFlags] = flagWhole | flagLarge
		if had&flagLarge == 0 {
			binary.LittleEndian.PutUint32(b[atValue:], uint32(len(p.large)))
			p.large = append(p.large, nil)
		}
		grown = len(s.Value) - p.release(b, b[atFlags])
		p.large[binary.LittleEndian.Uint32(b[atValue:])] = bytes.Clone(s.Value)
	default:
		b[atFlags] = flagWhole
		grown = -p.release(b, had)
		if len(s.Value) > capacity {
			binary.LittleEndian.PutUint32(b[atValue:], uint32(len(p.b)/8))
			p.b = append(p.b, s.Value...)
			p.b = append(p.b, make([]byte, padded(len(p.b))-len(p.b))...)
			return grown
		}
		copy(p.b[int(binary.LittleEndian.Uint32(b[atValue:]))*8:], s.Value)
	}
	return grown
}

// release lets go of a large value, and returns how many bytes it had.
func (p *part) release(b []byte, had byte) int {
	if had&flagLarge == 0 {
		return 0
	}
	at := binary.LittleEndian.Uint32(b[atValue:])
	n := len(p.large[at])
	p.large[at] = nil
	return n
}

// Get returns the state of a record. Its value is the table's, and holds until the next Put of the
// record; if it is large it stays as it is.
func (t *Table) Get(r Ref) State {
	p := &t.parts[r.part]
	b := p.b[int(r.at)*8:]
	s := State{
		Gone:     b[atFlags]&flagGone != 0,
		Whole:    b[atFlags]&flagWhole != 0,
		Kind:     b[atKind],
		Size:     binary.LittleEndian.Uint32(b[atSize:]),
		Deadline: int64(binary.LittleEndian.Uint64(b[atDeadline:])),
		Indexed:  int64(binary.LittleEndian.Uint64(b[atIndexed:])),
		Filed:    int64(binary.LittleEndian.Uint64(b[atFiled:])),
		Revision: binary.LittleEndian.Uint64(b[atRevision:]),
	}
	switch {
	case !s.Whole:
	case b[atFlags]&flagLarge != 0:
		s.Value = p.large[binary.LittleEndian.Uint32(b[atValue:])]
	default:
		at := int(binary.LittleEndian.Uint32(b[atValue:])) * 8
		s.Value = p.b[at : at+int(s.Size) : at+int(s.Size)]
	}
	return s
}

// Name returns the place and the name of a record. The name stays as it is.
func (t *Table) Name(r Ref) (place uint64, name []byte) { return t.parts[r.part].name(r.at) }

func (p *part) name(at uint32) (place uint64, name []byte) {
	b := p.b[int(at)*8:]
	n := int(binary.LittleEndian.Uint32(b[atNameLength:]))
	return binary.LittleEndian.Uint64(b), b[head : head+n : head+n]
}

// Record is a record with its place and name.
type Record struct {
	Place uint64
	Name  []byte
	State State
}

// Compare orders records by place and name.
func (r Record) Compare(other Record) int {
	return cmp.Or(cmp.Compare(r.Place, other.Place), bytes.Compare(r.Name, other.Name))
}

// Part appends to list the records of a space in a part, in no order. The names stay as they are, the
// values do not.
func (t *Table) Part(list []Record, n int, space uint16) []Record {
	p := &t.parts[n]
	for _, s := range p.slots {
		if s == 0 {
			continue
		}
		place, name := p.name(s - 1)
		if spaceOf(place) == space {
			list = append(list, Record{place, name, t.Get(Ref{uint32(n), s - 1})})
		}
	}
	return list
}

// Refs calls fn for the records of a part.
func (t *Table) Refs(n int, fn func(r Ref, place uint64, s State)) {
	for _, s := range t.parts[n].slots {
		if s != 0 {
			r := Ref{uint32(n), s - 1}
			place, _ := t.Name(r)
			fn(r, place, t.Get(r))
		}
	}
}

// All returns every record of a frozen table in the order of places and names, part by part, so that
// whoever walks may rest in between.
func (t *Table) All() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		var list []Record
		for _, space := range t.spaces() {
			for n := range t.parts {
				list = t.Part(list[:0], n, space)
				slices.SortFunc(list, Record.Compare)
				for _, r := range list {
					if !yield(r) {
						return
					}
				}
			}
		}
	}
}

func spaceOf(place uint64) uint16 { return uint16(place >> hashBits) }

// spaces returns the spaces that records are in, ascending.
func (t *Table) spaces() []uint16 {
	var spaces []uint16
	for n := range t.parts {
		p := &t.parts[n]
		for _, s := range p.slots {
			if s == 0 {
				continue
			}
			space := spaceOf(binary.LittleEndian.Uint64(p.b[int(s-1)*8:]))
			if i, found := slices.BinarySearch(spaces, space); !found {
				spaces = slices.Insert(spaces, i, space)
			}
		}
	}
	return spaces
}

// Drop makes every record of a space gone. The caller has all ranges to himself.
func (t *Table) Drop(space uint16) {
	for n := range t.parts {
		p := &t.parts[n]
		for _, s := range p.slots {
			if s == 0 {
				continue
			}
			b := p.b[int(s-1)*8:]
			if spaceOf(binary.LittleEndian.Uint64(b)) == space {
				p.set(s-1, State{Gone: true})
			}
		}
	}
}

// Allocated returns how much memory the table takes. The caller has all parts to himself, or the
// table is frozen.
func (t *Table) Allocated() (n int64) {
	for i := range t.parts {
		p := &t.parts[i]
		n += int64(cap(p.b) + 4*cap(p.slots))
		for _, v := range p.large {
			n += int64(cap(v))
		}
	}
	return n
}

// Len returns how many records a frozen table has.
func (t *Table) Len() (n int) {
	for i := range t.parts {
		n += t.parts[i].used
	}
	return n
}
