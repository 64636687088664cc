// Package layout holds every byte of a store that is sessiond's own: the keys and values in the
// tree, the changes in the frames of the log, the names of the files, the version of the format, and
// the errors that say that bytes are not what they should be. It reads and writes no file.
//
// # The tree
//
// All numbers are big endian, so that keys sort by number.
//
//	record key  hash slot <8b> | name          hash slot: physical database <2b> | hash <6b>
//
//	value       'd' | record key  ->  the value's bytes
//	header      'e' | record key  ->  version <1b> | kind <1b> | deadline, Unix ms <8b> |
//	                                  indexed, Unix ms <8b> | revision <8b> | size <4b>
//	element     'x' is kept for the elements of large collections: see decision 0010
//	index entry 't' | due, Unix ms <8b> | record key  ->  empty
//
//	format      'm' "format"                 ->  version <4b>
//	seed        'm' "seed"                   ->  key of the hash <16b>
//	fence       'm' "fence"                  ->  no valid index entry lies below, Unix ms <8b>
//	followed    'm' "followed"               ->  the tree has everything before this LSN of the log <8b>
//	revision    'm' "revision"               ->  no revision above was used before that LSN <8b>
//	clock       'm' "seen"                   ->  the clock stood there when the sweeper, before that
//	                                             LSN, last removed a record or time went back,
//	                                             Unix ms <8b>
//	database    'm' "space" | database <2b>  ->  physical database <2b>, only where the two differ
//	count       'm' "count" | physical database <2b>  ->  records <8b> | expiring <8b>, at that LSN
//
// Swapping two databases swaps their physical databases. The hash is the lower 48 bits of
// SipHash-2-4 of the name, keyed by the seed. The header and the value of a record always change in
// one batch. A record with a deadline has exactly one valid index entry, the one at the header's
// indexed. Others are left behind by a flush, or by a start, which files what it finds in the log
// once more; they are dropped when they come due.
//
// From fence to count it is the mark of a checkpoint, written in one batch behind the records. The
// tree may have more than what lies before that LSN: the last states of some of the records that
// changed since, where a checkpoint was cut short. The log from that LSN on says all of them again.
// Only what fits no segment of the log stands in the tree alone, and then with the mark behind it.
//
// The changes in a frame of the log are drawn at ChangeKind, the frames themselves in package wal.
package layout

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/dchest/siphash"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// FormatVersion is stored under 'm' "format". A program refuses a store with another number than
// its own; see also OtherFormat.
const FormatVersion = 3

// HeaderVersion is the first byte of a header. Version 1 is the first.
const HeaderVersion = 1

// The first byte of a key says what it is of.
const (
	PrefixValue  = 'd'
	PrefixHeader = 'e'
	PrefixMeta   = 'm'
	PrefixIndex  = 't'
)

// Sizes. Those without a unit are bytes.
const (
	HashBits   = 48
	HashMask   = 1<<HashBits - 1
	SlotSize   = 8
	HeaderSize = 1 + 1 + 8 + 8 + 8 + 4
	countSize  = 8 + 8
)

// Keys that exist once in a store, or once for each database: see Numbered. Nobody changes them.
var (
	KeyFormat     = []byte("mformat")
	KeySeed       = []byte("mseed")
	KeyFence      = []byte("mfence")
	KeyRevision   = []byte("mrevision")
	KeyFollowed   = []byte("mfollowed")
	KeyClock      = []byte("mseen")
	KeyPhysicalDB = []byte("mspace")
	KeyCount      = []byte("mcount")
)

// HashSlot is where the records of one hash lie, in order: the number of the physical database in
// the upper 16 bits, the hash of the name below.
type HashSlot uint64

// SlotOf returns the slot of a hash, which is below 1<<HashBits, in a physical database.
func SlotOf(physical uint16, hash uint64) HashSlot {
	return HashSlot(uint64(physical)<<HashBits | hash)
}

// PhysicalDB returns the upper part of the slot.
func (s HashSlot) PhysicalDB() uint16 { return uint16(s >> HashBits) }

// Hash returns the lower part of the slot.
func (s HashSlot) Hash() uint64 { return uint64(s) & HashMask }

// Seed is the key of the hash. Each store draws its own, so nobody can prepare names that
// share a slot.
type Seed struct{ K0, K1 uint64 }

// Hash returns the hash of a name.
func (s Seed) Hash(name []byte) uint64 { return siphash.Hash(s.K0, s.K1, name) & HashMask }

// Identity tells stores apart without telling the seed.
func (s Seed) Identity() uint64 { return s.Hash([]byte("sessiond backup")) }

// AppendRecordKey appends the key of the header or the value of a record.
func AppendRecordKey(dst []byte, prefix byte, s HashSlot, name []byte) []byte {
	dst = append(dst, prefix)
	dst = binary.BigEndian.AppendUint64(dst, uint64(s))
	return append(dst, name...)
}

// SplitRecordKey takes the key of a header or a value apart. The name is part of key.
func SplitRecordKey(key []byte, prefix byte) (s HashSlot, name []byte, ok bool) {
	if len(key) < 1+SlotSize || key[0] != prefix {
		return 0, nil, false
	}
	return HashSlot(binary.BigEndian.Uint64(key[1:])), key[1+SlotSize:], true
}

// AppendIndexKey appends the index key of a record that is looked at when due.
func AppendIndexKey(dst []byte, due ttl.Instant, s HashSlot, name []byte) []byte {
	dst = AppendIndexStart(dst, due)
	dst = binary.BigEndian.AppendUint64(dst, uint64(s))
	return append(dst, name...)
}

// AppendIndexStart appends the smallest index key that is due then.
func AppendIndexStart(dst []byte, due ttl.Instant) []byte {
	return binary.BigEndian.AppendUint64(append(dst, PrefixIndex), uint64(due))
}

// SplitIndexKey takes an index key apart. The name is part of key.
func SplitIndexKey(key []byte) (due ttl.Instant, s HashSlot, name []byte, ok bool) {
	if len(key) < 1+8+SlotSize || key[0] != PrefixIndex {
		return 0, 0, nil, false
	}
	due = ttl.Instant(binary.BigEndian.Uint64(key[1:]))
	s = HashSlot(binary.BigEndian.Uint64(key[9:]))
	return due, s, key[9+SlotSize:], due > 0
}

// Header is everything about a record except its name and value.
type Header struct {
	Kind     storage.Kind
	Deadline ttl.Instant
	Indexed  ttl.Instant // time of the record's index entry; Never if it has none
	Revision uint64
	Size     uint32 // of the value
}

// Record returns the record without its value.
func (x Header) Record() storage.Record {
	return storage.Record{Kind: x.Kind, Size: int(x.Size), Deadline: x.Deadline, Revision: x.Revision}
}

// Encode writes x to dst, which has HeaderSize bytes.
func (x Header) Encode(dst []byte) {
	_ = dst[HeaderSize-1]
	dst[0] = HeaderVersion
	dst[1] = byte(x.Kind)
	binary.BigEndian.PutUint64(dst[2:], uint64(x.Deadline))
	binary.BigEndian.PutUint64(dst[10:], uint64(x.Indexed))
	binary.BigEndian.PutUint64(dst[18:], x.Revision)
	binary.BigEndian.PutUint32(dst[26:], x.Size)
}

// DecodeHeader refuses everything that Encode does not write.
func DecodeHeader(b []byte) (Header, error) {
	if len(b) > 0 && b[0] > HeaderVersion {
		return Header{}, fmt.Errorf("record of version %d: %w", b[0], ErrNewerFormat)
	}
	if len(b) != HeaderSize || b[0] != HeaderVersion {
		return Header{}, fmt.Errorf("entry of %d bytes: %w", len(b), ErrDamaged)
	}
	x := Header{
		Kind:     storage.Kind(b[1]),
		Deadline: ttl.Instant(binary.BigEndian.Uint64(b[2:])),
		Indexed:  ttl.Instant(binary.BigEndian.Uint64(b[10:])),
		Revision: binary.BigEndian.Uint64(b[18:]),
		Size:     binary.BigEndian.Uint32(b[26:]),
	}
	if x.Deadline < 0 || x.Indexed < 0 || (x.Deadline == ttl.Never) != (x.Indexed == ttl.Never) {
		return Header{}, fmt.Errorf("entry with deadline %d, indexed %d: %w", x.Deadline, x.Indexed, ErrDamaged)
	}
	return x, nil
}

// MaxValue is the largest value the format can hold.
const MaxValue = math.MaxUint32

// DBBounds returns the first key of a physical database under prefix and the first one after it.
func DBBounds(prefix byte, physical uint16) (lower, upper []byte) {
	lower = binary.BigEndian.AppendUint16([]byte{prefix}, physical)
	if physical == MaxPhysicalDB {
		return lower, []byte{prefix + 1}
	}
	return lower, binary.BigEndian.AppendUint16([]byte{prefix}, physical+1)
}

// Numbered returns a meta key that exists once for each number.
func Numbered(key []byte, number uint16) []byte {
	return binary.BigEndian.AppendUint16(append([]byte(nil), key...), number)
}

// CountOf returns what one record adds to the size of its database.
func CountOf(exists bool, x Header) storage.Count {
	switch {
	case !exists:
		return storage.Count{}
	case x.Deadline == 0:
		return storage.Count{Records: 1}
	default:
		return storage.Count{Records: 1, Expiring: 1}
	}
}

// EncodeCount returns the bytes of a count.
func EncodeCount(c storage.Count) []byte {
	b := make([]byte, 0, countSize)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Records))
	return binary.BigEndian.AppendUint64(b, uint64(c.Expiring))
}

// DecodeCount refuses what EncodeCount does not write.
func DecodeCount(b []byte) (storage.Count, error) {
	if len(b) != countSize {
		return storage.Count{}, fmt.Errorf("count of %d bytes: %w", len(b), ErrDamaged)
	}
	return storage.Count{
		Records:  int64(binary.BigEndian.Uint64(b)),
		Expiring: int64(binary.BigEndian.Uint64(b[8:])),
	}, nil
}
