package dirty

import (
	"bytes"
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

// Generations returns the generations, the newer first.
func (m *Memory) Generations() []*Generation {
	if m.frozen == nil {
		return []*Generation{m.now}
	}
	return []*Generation{m.now, m.frozen}
}

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

// Part appends to list what the memory has of a space in a part, gone records too, in no order. A record
// comes twice if both generations have it, the newer state first. See Table.Part.
func (m *Memory) Part(list []Record, n int, space uint16) []Record {
	list = m.now.Part(list, n, space)
	if m.frozen == nil || m.now.empties(space) {
		return list
	}
	return m.frozen.Part(list, n, space)
}

// Newest sorts what Part has listed, and leaves of each record the newer state.
func Newest(list []Record) []Record {
	slices.SortStableFunc(list, Record.Compare)
	return slices.CompactFunc(list, func(a, b Record) bool { return a.Compare(b) == 0 })
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
	flushed atomic.Pointer[map[uint16]bool] // replaced by who has all ranges
	whole   atomic.Bool

	mu    sync.Mutex
	stale [][]byte
}

func newGeneration() *Generation { return &Generation{} }

// Keep notes what a record is now. Filed is what Indexed was before, in the memory or in the tree: it
// counts only if the generation has nothing of the record yet. Add is the time under which the index gets
// it anew; 0 says that it does not.
func (g *Generation) Keep(place uint64, name []byte, s State, add int64) {
	r, grown := g.Put(place, name, s)
	if add != 0 {
		g.Filings.Add(Filing{add, place, r})
		grown += filingBytes
	}
	if grown != 0 {
		g.bytes.Add(int64(grown))
	}
}

// Flush empties a space. The caller has all ranges to himself. What was filed stays filed for who
// removes it.
func (g *Generation) Flush(space uint16) {
	g.Drop(space)
	flushed := map[uint16]bool{}
	if old := g.flushed.Load(); old != nil {
		maps.Copy(flushed, *old)
	}
	flushed[space] = true
	g.flushed.Store(&flushed)
}

// empties reports whether nothing of a space counts that is older than the generation.
func (g *Generation) empties(space uint16) bool {
	flushed := g.flushed.Load()
	return flushed != nil && (*flushed)[space]
}

// Flushed returns the spaces that the generation empties, ascending.
func (g *Generation) Flushed() []uint16 {
	if flushed := g.flushed.Load(); flushed != nil {
		return slices.Sorted(maps.Keys(*flushed))
	}
	return nil
}

// MakeWhole says that the log lacks some of the generation: it has to come to the tree in one step.
func (g *Generation) MakeWhole() { g.whole.Store(true) }

// Whole reports whether MakeWhole was called.
func (g *Generation) Whole() bool { return g.whole.Load() }

// AddStale notes an index key of the tree that leads nowhere and that no record of the memory
// removes. It keeps a copy.
func (g *Generation) AddStale(key []byte) {
	g.mu.Lock()
	g.stale = append(g.stale, bytes.Clone(key))
	g.mu.Unlock()
	g.bytes.Add(int64(len(key) + 24))
}

// Stale returns the keys of AddStale. The generation is frozen.
func (g *Generation) Stale() [][]byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stale
}

// Bytes returns how much memory the generation takes, about: at any time, by anybody.
func (g *Generation) Bytes() int64 { return g.bytes.Load() }
