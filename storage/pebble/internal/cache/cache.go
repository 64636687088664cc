// Package cache keeps recently used records in memory, within a set number of bytes. It holds no
// truth of its own, and it is never wrong:
//
//   - A record is put in, changed or dropped only by a caller who holds its stripe: for writing if
//     the store changes, after the change is in the log; for reading if what was read is put in. So
//     while a stripe is held, what the cache has of a record is what the store has.
//   - About what it does not have, it says nothing: absence is always the store's word.
//   - Any record may be evicted at any time. What the tree has not followed yet is kept by package
//     dirty, so nothing is lost with it.
//
// Records lie in rings of bytes without pointers, so the garbage collector has nothing to look at
// however many there are. Stripes are locked before shards.
package cache

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"sync"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/dirty"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/ttl"
)

// Cache keeps recently used records, those that the tree has and those that it will have. Create it
// with New. All methods are safe for concurrent use.
type Cache struct {
	shards []shard // a power of two of them; none if the cache keeps nothing
}

// shard is a ring of records and a table to find them. The oldest record makes room for a
// new one, unless it was used since it was put in or spared; then it goes to the back.
//
//	record  length <4b> | name length <4b> | place <8b> | deadline <8b> | indexed <8b> |
//	        revision <8b> | size <4b> | kind <1b> | flags <1b> | unused <2b> | name | value
//
// Numbers are little endian, and records begin at multiples of 8. The value is there if
// flagValue says so: of a large one only the rest is kept, which is all a touch needs.
type shard struct {
	mu    sync.Mutex
	ring  []byte
	limit int // bytes of the ring, which is made when it is first needed
	// Records lie in ring[:tail] if wrap is 0, and else in ring[head:wrap], the older ones,
	// and ring[:tail]; head is then the oldest, and tail at most head.
	head, tail, wrap int

	table []slot // a power of two of them, at most half of them used
	used  int
	_     [64]byte // shards are used by different processors
}

// slot is the upper half of a record's mixed slot, and where the record lies in units of 8,
// plus one. 0 is an empty slot.
type slot uint64

const (
	recordHead = 48
	flagsAt    = 45

	flagUsed  = 1 << 0 // since it was put in or spared
	flagValue = 1 << 1 // the value is there
	flagDead  = 1 << 2 // dropped or replaced

	// shardSize is what a shard should have at least; a record may take a sixteenth of its
	// shard.
	shardSize     = 1 << 20
	maxShards     = 64
	maxRecordPart = 16
)

// New returns a cache of at most size bytes, which keeps nothing if that is too few.
func New(size int64) (f Cache) {
	if size < recordHead {
		return f
	}
	n := min(max(1, size/shardSize), maxShards)
	n = 1 << (bits.Len64(uint64(n)) - 1)
	f.shards = make([]shard, n)
	for i := range f.shards {
		f.shards[i].limit = int(min(size/n, 1<<34)) &^ 7
	}
	return f
}

// mix spreads hash slots over shards and tables as the memory does over its parts.
func mix(p layout.HashSlot) uint64 { return dirty.Mix(uint64(p)) }

func (f *Cache) shard(mixed uint64) *shard {
	return &f.shards[mixed>>16&uint64(len(f.shards)-1)]
}

// Stat returns the header of a record, if the cache has it.
func (f *Cache) Stat(p layout.HashSlot, name []byte) (x layout.Header, found bool) {
	if len(f.shards) == 0 {
		return x, false
	}
	mixed := mix(p)
	s := f.shard(mixed)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, _ := s.find(mixed, p, name)
	if at < 0 {
		return x, false
	}
	s.ring[at+flagsAt] |= flagUsed
	return s.header(at), true
}

// Get is stat that appends the value to dst, if the cache has that as well.
func (f *Cache) Get(dst []byte, p layout.HashSlot, name []byte) (x layout.Header, value []byte, found, whole bool) {
	if len(f.shards) == 0 {
		return x, dst, false, false
	}
	mixed := mix(p)
	s := f.shard(mixed)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, _ := s.find(mixed, p, name)
	if at < 0 {
		return x, dst, false, false
	}
	s.ring[at+flagsAt] |= flagUsed
	x = s.header(at)
	if s.ring[at+flagsAt]&flagValue == 0 {
		return x, dst, true, false
	}
	begin := at + recordHead + len(name)
	return x, append(dst, s.ring[begin:begin+int(x.Size)]...), true, true
}

// Put keeps a record as it now is. If whole is not set the value is not known; it is kept if
// the cache has it and the record's header says that it did not change.
func (f *Cache) Put(p layout.HashSlot, name []byte, x layout.Header, value []byte, whole bool) {
	if len(f.shards) == 0 {
		return
	}
	mixed := mix(p)
	s := f.shard(mixed)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, i := s.find(mixed, p, name)
	size := recordSize(len(name), len(value))
	if whole && size > s.limit/maxRecordPart {
		value, whole = nil, false
		size = recordSize(len(name), 0)
		s.forget(at, i)
		at = -1
	}
	switch {
	case at >= 0 && !whole:
		s.setHeader(at, x)
		return
	case at >= 0 && s.ring[at+flagsAt]&flagValue != 0 && int(binary.LittleEndian.Uint32(s.ring[at:])) == size:
		s.setHeader(at, x)
		copy(s.ring[at+recordHead+len(name):], value)
		return
	}
	s.forget(at, i)
	if size <= s.limit/maxRecordPart {
		s.add(mixed, p, name, x, value, whole)
	}
}

// Drop forgets a record.
func (f *Cache) Drop(p layout.HashSlot, name []byte) {
	if len(f.shards) == 0 {
		return
	}
	mixed := mix(p)
	s := f.shard(mixed)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(s.find(mixed, p, name))
}

// DropDB forgets all records of a physical database. It looks at every record.
func (f *Cache) DropDB(physical uint16) {
	for i := range f.shards {
		s := &f.shards[i]
		s.mu.Lock()
		s.each(func(at int) {
			if s.place(at).PhysicalDB() == physical {
				s.forget(s.find(mix(s.place(at)), s.place(at), s.name(at)))
			}
		})
		s.mu.Unlock()
	}
}

// Each calls fn for all records, which is for tests. Whole says that the value is there; what fn is
// handed is valid inside it only.
func (f *Cache) Each(fn func(p layout.HashSlot, name []byte, x layout.Header, value []byte, whole bool)) {
	for i := range f.shards {
		s := &f.shards[i]
		s.mu.Lock()
		s.each(func(at int) { s.show(at, fn) })
		s.mu.Unlock()
	}
}

// show calls fn with the record at at.
func (s *shard) show(at int, fn func(p layout.HashSlot, name []byte, x layout.Header, value []byte, whole bool)) {
	name, x := s.name(at), s.header(at)
	whole := s.ring[at+flagsAt]&flagValue != 0
	var value []byte
	if begin := at + recordHead + len(name); whole {
		value = s.ring[begin : begin+int(x.Size)]
	}
	fn(s.place(at), name, x, value, whole)
}

func recordSize(name, value int) int { return (recordHead + name + value + 7) &^ 7 }

// find returns where a record lies and its slot, or -1.
func (s *shard) find(mixed uint64, p layout.HashSlot, name []byte) (at, i int) {
	if s.used == 0 {
		return -1, -1
	}
	mask := len(s.table) - 1
	for i = int(mixed) & mask; s.table[i] != 0; i = (i + 1) & mask {
		if uint64(s.table[i])>>32 != mixed>>32 {
			continue
		}
		at = s.table[i].at()
		if s.place(at) == p && bytes.Equal(s.name(at), name) {
			return at, i
		}
	}
	return -1, -1
}

func (t slot) at() int { return int(uint32(t)-1) * 8 }

// forget drops the record at at, whose slot is i; at -1 is none. The slots behind move up, so that every
// search still ends at the first empty slot.
func (s *shard) forget(at, i int) {
	if at < 0 {
		return
	}
	s.ring[at+flagsAt] |= flagDead
	s.used--
	mask := len(s.table) - 1
	for j := (i + 1) & mask; s.table[j] != 0; j = (j + 1) & mask {
		home := int(mix(s.place(s.table[j].at()))) & mask
		if (j-home)&mask >= (j-i)&mask {
			s.table[i], i = s.table[j], j
		}
	}
	s.table[i] = 0
}

// add puts in a record that the shard does not have.
func (s *shard) add(mixed uint64, p layout.HashSlot, name []byte, x layout.Header, value []byte, whole bool) {
	size := recordSize(len(name), len(value))
	at := s.room(size)
	b := s.ring[at : at+size]
	binary.LittleEndian.PutUint32(b, uint32(size))
	binary.LittleEndian.PutUint32(b[4:], uint32(len(name)))
	binary.LittleEndian.PutUint64(b[8:], uint64(p))
	b[flagsAt] = 0
	if whole {
		b[flagsAt] = flagValue
	}
	s.setHeader(at, x)
	copy(b[recordHead:], name)
	copy(b[recordHead+len(name):], value)
	s.enter(mixed, at)
}

// enter makes the record at at findable.
func (s *shard) enter(mixed uint64, at int) {
	if 2*(s.used+1) > len(s.table) {
		s.growTable()
	}
	mask := len(s.table) - 1
	i := int(mixed) & mask
	for s.table[i] != 0 {
		i = (i + 1) & mask
	}
	s.table[i] = slot(mixed>>32<<32 | uint64(at/8+1))
	s.used++
}

func (s *shard) growTable() {
	old := s.table
	s.table = make([]slot, max(64, 2*len(old)))
	mask := len(s.table) - 1
	for _, t := range old {
		if t == 0 {
			continue
		}
		i := int(mix(s.place(t.at()))) & mask
		for s.table[i] != 0 {
			i = (i + 1) & mask
		}
		s.table[i] = t
	}
}

// spares is how many used records one new one may push to the back.
const spares = 8

// room returns where a record of that size goes, which is not more than the ring has.
func (s *shard) room(size int) (at int) {
	if s.ring == nil {
		s.ring = make([]byte, s.limit)
	}
	for left := spares; ; {
		switch {
		case s.wrap == 0 && s.tail+size <= s.limit, s.wrap != 0 && s.head-s.tail >= size:
			at = s.tail
			s.tail += size
			return at
		case s.wrap == 0:
			s.head, s.tail, s.wrap = 0, 0, s.tail
		default:
			left = s.pass(left)
		}
	}
}

// pass takes the oldest record out, or moves it to the back if it was used and some may be
// spared. It returns how many may be spared after it.
func (s *shard) pass(left int) int {
	at := s.head
	size := int(binary.LittleEndian.Uint32(s.ring[at:]))
	if s.head += size; s.head == s.wrap {
		s.head, s.wrap = 0, 0
	}
	flags := &s.ring[at+flagsAt]
	if *flags&flagDead != 0 {
		return left
	}
	_, i := s.find(mix(s.place(at)), s.place(at), s.name(at))
	if *flags&flagUsed == 0 || left == 0 {
		s.forget(at, i)
		return left
	}
	*flags &^= flagUsed
	copy(s.ring[s.tail:], s.ring[at:at+size]) // the record's own room is free by now
	s.table[i] = s.table[i]>>32<<32 | slot(s.tail/8+1)
	s.tail += size
	return left - 1
}

// each calls fn for the records that were not dropped.
func (s *shard) each(fn func(at int)) {
	walk := func(at, end int) {
		for at < end {
			size := int(binary.LittleEndian.Uint32(s.ring[at:]))
			if s.ring[at+flagsAt]&flagDead == 0 {
				fn(at)
			}
			at += size
		}
	}
	walk(s.head, s.wrap)
	walk(0, s.tail)
}

func (s *shard) place(at int) layout.HashSlot {
	return layout.HashSlot(binary.LittleEndian.Uint64(s.ring[at+8:]))
}

func (s *shard) name(at int) []byte {
	n := int(binary.LittleEndian.Uint32(s.ring[at+4:]))
	return s.ring[at+recordHead : at+recordHead+n]
}

func (s *shard) header(at int) layout.Header {
	b := s.ring[at : at+recordHead]
	return layout.Header{
		Deadline: ttl.Instant(binary.LittleEndian.Uint64(b[16:])),
		Indexed:  ttl.Instant(binary.LittleEndian.Uint64(b[24:])),
		Revision: binary.LittleEndian.Uint64(b[32:]),
		Size:     binary.LittleEndian.Uint32(b[40:]),
		Kind:     storage.Kind(b[44]),
	}
}

func (s *shard) setHeader(at int, x layout.Header) {
	b := s.ring[at : at+recordHead]
	binary.LittleEndian.PutUint64(b[16:], uint64(x.Deadline))
	binary.LittleEndian.PutUint64(b[24:], uint64(x.Indexed))
	binary.LittleEndian.PutUint64(b[32:], x.Revision)
	binary.LittleEndian.PutUint32(b[40:], x.Size)
	b[44] = byte(x.Kind)
}
