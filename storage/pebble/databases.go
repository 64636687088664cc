package pebble

import (
	"encoding/binary"
	"maps"
)

const maxSpace = 1<<16 - 1

// spaces maps databases to their spaces where the two differ. It is never changed, only
// replaced.
type spaces map[uint16]uint16

func (s spaces) of(db uint16) uint16 {
	if space, ok := s[db]; ok {
		return space
	}
	return db
}

// swap returns s with the spaces of two databases exchanged.
func (s spaces) swap(a, b uint16) spaces {
	t := maps.Clone(s)
	if t == nil {
		t = spaces{}
	}
	t[a], t[b] = s.of(b), s.of(a)
	for _, db := range [...]uint16{a, b} {
		if t[db] == db {
			delete(t, db)
		}
	}
	return t
}

// databases returns the database of each space, where the two differ.
func (s spaces) databases() spaces {
	t := make(spaces, len(s))
	for db, space := range s {
		t[space] = db
	}
	return t
}

// owner returns the database that has a space.
func (s spaces) owner(space uint16) uint16 {
	for db, other := range s {
		if other == space {
			return db
		}
	}
	return space
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
