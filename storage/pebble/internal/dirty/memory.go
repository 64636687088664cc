package dirty

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Memory is what the log has and the tree has not: it overrides the tree. It has at most two
// generations, of which the newer overrides the older. A Memory is never changed, only replaced by
// Freeze and Thaw; its newer generation takes the changes.
//
// Whoever changes a record holds the lock of its part for writing, and keeps others from freezing
// meanwhile. Whoever reads one holds that lock.
type Memory struct {
	now, frozen *Generation
}

// NewMemory returns a memory that has nothing.
func NewMemory() *Memory { return &Memory{now: newGeneration()} }

// Now returns the generation that takes the changes.
func (m *Memory) Now() *Generation { return m.now }

// Frozen returns the generation on its way to the tree, or nil.
func (m *Memory) Frozen() *Generation { return m.frozen }

// Freeze returns the memory in which a new generation takes the changes. There must be no frozen one.
func (m *Memory) Freeze() *Memory {
	if m.frozen != nil {
		panic("dirty: a generation is on its way already")
	}
	return &Memory{now: newGeneration(), frozen: m.now}
}

// Thaw returns the memory without the frozen generation: the tree has it.
func (m *Memory) Thaw() *Memory { return &Memory{now: m.now} }

// before returns the generation before one, or nil.
func (m *Memory) before(g *Generation) *Generation {
	if g == m.now {
		return m.frozen
	}
	return nil
}

// Recent returns what the memory has of a record: that it is gone, too. If known is false the tree
// decides.
func (m *Memory) Recent(place uint64, name []byte) (s State, known bool) {
	for g := m.now; g != nil; g = m.before(g) {
		if r, found := g.Find(place, name); found {
			return g.Get(r), true
		}
		if g.empties(spaceOf(place)) {
			return State{Gone: true}, true
		}
	}
	return State{}, false
}

// Value returns the value of a record that exists, if the memory has it.
func (m *Memory) Value(place uint64, name []byte) (value []byte, known bool) {
	for g := m.now; g != nil; g = m.before(g) {
		if r, found := g.Find(place, name); found {
			if s := g.Get(r); s.Whole {
				return s.Value, true
			}
		}
	}
	return nil, false
}

// Filed returns under which time the index of the tree has a record, or will have it when the frozen
// generation is there: what State.Filed has to be in a change of it. Existed says that there was a
// record, and indexed is its Indexed.
func (m *Memory) Filed(place uint64, name []byte, existed bool, indexed int64) int64 {
	if r, found := m.now.Find(place, name); found {
		return m.now.Get(r).Filed
	}
	if existed {
		return indexed
	}
	return 0
}

// Removes reports whether the tree loses the index entry of a record at a time when a generation
// comes to it.
func (m *Memory) Removes(place uint64, name []byte, due int64) bool {
	for g := m.now; g != nil; g = m.before(g) {
		if r, found := g.Find(place, name); found {
			if s := g.Get(r); s.Filed == due && (s.Gone || s.Indexed != s.Filed) {
				return true
			}
		}
	}
	return false
}

// Hides reports whether nothing that the tree has of a space counts.
func (m *Memory) Hides(space uint16) bool {
	return m.now.empties(space) || m.frozen != nil && m.frozen.empties(space)
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

// Part returns what the memory has of a space in a part, gone records too, in order. The names are the
// memory's.
func (m *Memory) Part(n int, space uint16) (list []Record) {
	for g := m.now; g != nil; g = m.before(g) {
		newer := list
		for _, r := range g.Table.Part(n) {
			place, name := g.Name(r)
			x := Record{place, name, g.Get(r)}
			if spaceOf(place) != space {
				continue
			}
			if _, overridden := slices.BinarySearchFunc(newer, x, Record.Compare); !overridden {
				list = append(list, x)
			}
		}
		if g.empties(space) {
			break
		}
	}
	slices.SortFunc(list, Record.Compare)
	return list
}

// Bytes returns how much memory the generations take, about.
func (m *Memory) Bytes() (n int64) {
	for g := m.now; g != nil; g = m.before(g) {
		n += g.Bytes()
	}
	return n
}

// Generation is what changed between two checkpoints.
type Generation struct {
	Table
	Filings Filings

	bytes   atomic.Int64
	flushed map[uint16]bool // changed by who has all parts

	mu    sync.Mutex
	stale [][]byte
}

func newGeneration() *Generation { return &Generation{flushed: map[uint16]bool{}} }

func spaceOf(place uint64) uint16 { return uint16(place >> hashBits) }

// recordBytes is about what a record takes beside its name and value.
const recordBytes = 80

// Keep notes what a record is now. Add is the time under which the index gets it anew; 0 says that it
// does not.
func (g *Generation) Keep(place uint64, name []byte, s State, add int64) {
	r := g.Put(place, name, s)
	if add != 0 {
		g.Filings.Add(Filing{add, place, r})
	}
	g.bytes.Add(int64(recordBytes + len(name) + len(s.Value)))
}

// Flush empties a space. The caller has all parts to himself. What was filed stays filed for who
// removes it.
func (g *Generation) Flush(space uint16) {
	g.Drop(space)
	g.flushed[space] = true
}

// empties reports whether nothing of a space counts that is older than the generation.
func (g *Generation) empties(space uint16) bool { return len(g.flushed) > 0 && g.flushed[space] }

// Flushed returns the spaces that the generation empties, ascending.
func (g *Generation) Flushed() []uint16 { return slices.Sorted(maps.Keys(g.flushed)) }

// AddStale notes an index key of the tree that leads nowhere and that no record of the memory
// removes. It keeps a copy.
func (g *Generation) AddStale(key []byte) {
	g.mu.Lock()
	g.stale = append(g.stale, bytes.Clone(key))
	g.mu.Unlock()
	g.bytes.Add(int64(len(key)))
}

// Stale returns the keys of AddStale. The generation is frozen.
func (g *Generation) Stale() [][]byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stale
}

// Bytes returns how much memory the generation takes, about: at any time, by anybody.
func (g *Generation) Bytes() int64 { return g.bytes.Load() }
