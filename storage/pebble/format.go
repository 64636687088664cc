package pebble

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/dchest/siphash"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// The keys and values on disk. All numbers are big endian, so that keys sort by number.
//
//	position  space <2b> | hash <6b> | name
//
//	value     'd' | position               ->  the value's bytes
//	entry     'e' | position               ->  version <1b> | kind <1b> | deadline, Unix ms <8b> |
//	                                           indexed, Unix ms <8b> | revision <8b> | size <4b>
//	index     't' | due, Unix ms <8b> | position  ->  empty
//
//	format    'm' "format"                 ->  version <4b>
//	seed      'm' "seed"                   ->  key of the hash <16b>
//	fence     'm' "fence"                  ->  no valid index entry lies below, Unix ms <8b>
//	followed  'm' "followed"               ->  the tree has everything before this LSN of the log <8b>
//	revision  'm' "revision"               ->  no revision above was used before that LSN <8b>
//	seen      'm' "seen"                   ->  the clock stood there when the sweeper, before that
//	                                           LSN, last removed a record or time went back,
//	                                           Unix ms <8b>
//	space     'm' "space" | database <2b>  ->  space <2b>, only where it differs from database
//	count     'm' "count" | space <2b>     ->  records <8b> | expiring <8b>, at that LSN
//
// A space is the physical number of a logical database; swapping two databases swaps their
// spaces. The hash is the lower 48 bits of SipHash-2-4 of the name, keyed by the seed. The
// entry and the value of a record always change in one batch. A record with a deadline has
// exactly one valid index entry, the one at the entry's indexed; others are left behind by
// a flush, or by a start, which files anew what it finds in the log, and are dropped when they
// come due.
//
// From fence to count it is the mark of a checkpoint, written in one batch behind the records. The
// tree may have more than what lies before that LSN: the last states of some of the records that
// changed since, where a checkpoint was cut short. The log from that LSN on says all of them again.
// Only what fits no segment of the log stands in the tree alone, and then with the mark behind it.

// formatVersion is stored under 'm' "format". A program refuses a store with another number than
// its own; see also formatFile.
const formatVersion = 3

// entryVersion is the first byte of an entry. Version 1 is the first.
const entryVersion = 1

const (
	prefixValue = 'd'
	prefixEntry = 'e'
	prefixMeta  = 'm'
	prefixIndex = 't'

	hashBits     = 48
	hashMask     = 1<<hashBits - 1
	positionHead = 8 // space and hash
	entrySize    = 1 + 1 + 8 + 8 + 8 + 4
	countSize    = 8 + 8
)

// Keys that exist once in a store. Nobody changes them.
var (
	keyFormat   = []byte("mformat")
	keySeed     = []byte("mseed")
	keyFence    = []byte("mfence")
	keyRevision = []byte("mrevision")
	keyFollowed = []byte("mfollowed")
	keySeen     = []byte("mseen")
	keySpace    = []byte("mspace")
	keyCount    = []byte("mcount")
)

// place is the part of a position before the name: space in the upper 16 bits, hash below.
type place uint64

func placeOf(space uint16, hash uint64) place { return place(uint64(space)<<hashBits | hash) }

func (p place) space() uint16 { return uint16(p >> hashBits) }
func (p place) hash() uint64  { return uint64(p) & hashMask }

// seed is the key of the hash. Each store draws its own, so nobody can prepare names that
// share a position.
type seed struct{ k0, k1 uint64 }

func (s seed) hash(name []byte) uint64 { return siphash.Hash(s.k0, s.k1, name) & hashMask }

// identity tells stores apart without telling the seed.
func (s seed) identity() uint64 { return s.hash([]byte("sessiond backup")) }

// appendPosition appends the entry or value key of a record.
func appendPosition(dst []byte, prefix byte, p place, name []byte) []byte {
	dst = append(dst, prefix)
	dst = binary.BigEndian.AppendUint64(dst, uint64(p))
	return append(dst, name...)
}

// splitPosition takes the key of an entry or a value apart. The name is part of key.
func splitPosition(key []byte, prefix byte) (p place, name []byte, ok bool) {
	if len(key) < 1+positionHead || key[0] != prefix {
		return 0, nil, false
	}
	return place(binary.BigEndian.Uint64(key[1:])), key[1+positionHead:], true
}

// appendIndex appends the index key of a record that is looked at when due.
func appendIndex(dst []byte, due ttl.Instant, p place, name []byte) []byte {
	dst = appendIndexStart(dst, due)
	dst = binary.BigEndian.AppendUint64(dst, uint64(p))
	return append(dst, name...)
}

// appendIndexStart appends the smallest index key that is due then.
func appendIndexStart(dst []byte, due ttl.Instant) []byte {
	return binary.BigEndian.AppendUint64(append(dst, prefixIndex), uint64(due))
}

// splitIndex takes an index key apart. The name is part of key.
func splitIndex(key []byte) (due ttl.Instant, p place, name []byte, ok bool) {
	if len(key) < 1+8+positionHead || key[0] != prefixIndex {
		return 0, 0, nil, false
	}
	due = ttl.Instant(binary.BigEndian.Uint64(key[1:]))
	p = place(binary.BigEndian.Uint64(key[9:]))
	return due, p, key[9+positionHead:], due > 0
}

// entry is everything about a record except its name and value.
type entry struct {
	kind     storage.Kind
	deadline ttl.Instant
	indexed  ttl.Instant // time of the record's index entry; Never if it has none
	revision uint64
	size     uint32 // of the value
}

func (x entry) record() storage.Record {
	return storage.Record{Kind: x.kind, Size: int(x.size), Deadline: x.deadline, Revision: x.revision}
}

// encode writes x to dst, which has entrySize bytes.
func (x entry) encode(dst []byte) {
	_ = dst[entrySize-1]
	dst[0] = entryVersion
	dst[1] = byte(x.kind)
	binary.BigEndian.PutUint64(dst[2:], uint64(x.deadline))
	binary.BigEndian.PutUint64(dst[10:], uint64(x.indexed))
	binary.BigEndian.PutUint64(dst[18:], x.revision)
	binary.BigEndian.PutUint32(dst[26:], x.size)
}

// decodeEntry refuses everything that encode does not write.
func decodeEntry(b []byte) (entry, error) {
	if len(b) > 0 && b[0] > entryVersion {
		return entry{}, fmt.Errorf("record of version %d: %w", b[0], ErrNewerFormat)
	}
	if len(b) != entrySize || b[0] != entryVersion {
		return entry{}, fmt.Errorf("entry of %d bytes: %w", len(b), ErrDamaged)
	}
	x := entry{
		kind:     storage.Kind(b[1]),
		deadline: ttl.Instant(binary.BigEndian.Uint64(b[2:])),
		indexed:  ttl.Instant(binary.BigEndian.Uint64(b[10:])),
		revision: binary.BigEndian.Uint64(b[18:]),
		size:     binary.BigEndian.Uint32(b[26:]),
	}
	if x.deadline < 0 || x.indexed < 0 || (x.deadline == ttl.Never) != (x.indexed == ttl.Never) {
		return entry{}, fmt.Errorf("entry with deadline %d, indexed %d: %w", x.deadline, x.indexed, ErrDamaged)
	}
	return x, nil
}

// maxValue is the largest value the format can hold.
const maxValue = math.MaxUint32

// spaceBounds returns the first key of a space under prefix and the first one after it.
func spaceBounds(prefix byte, space uint16) (lower, upper []byte) {
	lower = binary.BigEndian.AppendUint16([]byte{prefix}, space)
	if space == maxSpace {
		return lower, []byte{prefix + 1}
	}
	return lower, binary.BigEndian.AppendUint16([]byte{prefix}, space+1)
}

// numbered returns a meta key that exists once for each number.
func numbered(key []byte, number uint16) []byte {
	return binary.BigEndian.AppendUint16(append([]byte(nil), key...), number)
}

// countOf returns what one record adds to the size of its space.
func countOf(exists bool, x entry) storage.Count {
	switch {
	case !exists:
		return storage.Count{}
	case x.deadline == 0:
		return storage.Count{Records: 1}
	default:
		return storage.Count{Records: 1, Expiring: 1}
	}
}

func encodeCount(c storage.Count) []byte {
	b := make([]byte, 0, countSize)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Records))
	return binary.BigEndian.AppendUint64(b, uint64(c.Expiring))
}

func decodeCount(b []byte) (storage.Count, error) {
	if len(b) != countSize {
		return storage.Count{}, fmt.Errorf("count of %d bytes: %w", len(b), ErrDamaged)
	}
	return storage.Count{
		Records:  int64(binary.BigEndian.Uint64(b)),
		Expiring: int64(binary.BigEndian.Uint64(b[8:])),
	}, nil
}
