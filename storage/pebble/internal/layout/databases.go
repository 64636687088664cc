package layout

import (
	"encoding/binary"
	"maps"
)

// MaxPhysicalDB is the highest number of a physical database, and of a database.
const MaxPhysicalDB = 1<<16 - 1

// PhysicalDBs maps databases to their physical databases where the two differ. It is never
// changed, only replaced.
type PhysicalDBs map[uint16]uint16

// Of returns the physical database of a database.
func (s PhysicalDBs) Of(db uint16) uint16 {
	if physical, ok := s[db]; ok {
		return physical
	}
	return db
}

// Swap returns s with the physical databases of two databases exchanged.
func (s PhysicalDBs) Swap(a, b uint16) PhysicalDBs {
	t := maps.Clone(s)
	if t == nil {
		t = PhysicalDBs{}
	}
	t[a], t[b] = s.Of(b), s.Of(a)
	for _, db := range [...]uint16{a, b} {
		if t[db] == db {
			delete(t, db)
		}
	}
	return t
}

// Databases returns the database of each physical, where the two differ.
func (s PhysicalDBs) Databases() PhysicalDBs {
	t := make(PhysicalDBs, len(s))
	for db, physical := range s {
		t[physical] = db
	}
	return t
}

// Logical returns the database of a physical one. It searches: it is for reports.
func (s PhysicalDBs) Logical(physical uint16) uint16 {
	for db, other := range s {
		if other == physical {
			return db
		}
	}
	return physical
}

// AppendChange appends what the map has become.
func (s PhysicalDBs) AppendChange(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, byte(ChangePhysicalDBs)), uint64(len(s)))
	for db, physical := range s {
		dst = binary.LittleEndian.AppendUint16(dst, db)
		dst = binary.LittleEndian.AppendUint16(dst, physical)
	}
	return dst
}

// MostChange returns how many bytes AppendChange appends at most.
func (s PhysicalDBs) MostChange() int { return 1 + binary.MaxVarintLen64 + 4*len(s) }
