package dirty

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// store is an engine in small: a tree and its index, both maps, and a memory over them.
type store struct {
	m       *Memory
	entries map[name]State // whole; Filed counts for nothing
	index   map[filed]bool
	now     int64
	from    int64 // the sweeper has dealt with what the tree has filed before

	truth map[name]State // what a client has to find
	steps []string
}

// secondPart is the hash of some names, and 0 that of the others.
const secondPart = 1 << 40

// filed is an entry of the index.
type filed struct {
	due int64
	name
}

func newStore() *store {
	return &store{m: NewMemory(), entries: map[name]State{}, index: map[filed]bool{}, truth: map[name]State{}}
}

func (s *store) note(format string, args ...any) {
	s.steps = append(s.steps, fmt.Sprintf(format, args...))
}

// get returns a record as the memory and the tree have it.
func (s *store) get(n name) (x State, found bool) {
	x, known := s.m.Recent(n.place, []byte(n.text))
	if !known {
		x, found = s.entries[n]
		return x, found
	}
	if x.Gone {
		return State{}, false
	}
	if value, has := s.m.Value(n.place, []byte(n.text)); has {
		x.Value = value
	} else {
		x.Value = s.entries[n].Value
	}
	return x, true
}

// change makes a change as a commit does.
func (s *store) change(n name, to State) {
	was, existed := s.get(n)
	to.Filed = 0
	if existed {
		to.Filed = was.Indexed
	}
	add := int64(0)
	switch {
	case to.Gone || to.Deadline == 0:
		to.Indexed = 0
	case was.Indexed != 0 && was.Indexed <= to.Deadline:
		to.Indexed = was.Indexed
	default:
		to.Indexed, add = to.Deadline, to.Deadline
	}
	s.m.Now().Keep(n.place, []byte(n.text), to, add)
}

func (s *store) put(n name, value string, deadline int64) {
	s.note("put %v %q until %d", n, value, deadline)
	s.change(n, State{Whole: true, Value: []byte(value), Size: uint32(len(value)), Deadline: deadline})
	s.truth[n] = State{Value: []byte(value), Deadline: deadline}
}

func (s *store) touch(n name, deadline int64) {
	x, found := s.get(n)
	if !found {
		return
	}
	s.note("touch %v until %d", n, deadline)
	x.Whole, x.Deadline = false, deadline
	s.change(n, x)
	t := s.truth[n]
	t.Deadline = deadline
	s.truth[n] = t
}

func (s *store) remove(n name) {
	if _, found := s.get(n); found {
		s.note("delete %v", n)
		s.change(n, State{Gone: true})
		delete(s.truth, n)
	}
}

func (s *store) flush(space uint16) {
	s.note("flush %d", space)
	s.m.Now().Flush(space)
	maps.DeleteFunc(s.truth, func(n name, _ State) bool { return spaceOf(n.place) == space })
}

// apply brings the frozen generation to the tree.
func (s *store) apply() {
	g := s.m.Frozen()
	s.note("checkpoint")
	for _, space := range g.Flushed() {
		maps.DeleteFunc(s.entries, func(n name, _ State) bool { return spaceOf(n.place) == space })
	}
	for _, key := range g.Stale() {
		maps.DeleteFunc(s.index, func(f filed, _ bool) bool { return string(f.key()) == string(key) })
	}
	for r := range g.All() {
		n, x := name{r.Place, string(r.Name)}, r.State
		if x.Filed != 0 && (x.Gone || x.Filed != x.Indexed) {
			delete(s.index, filed{x.Filed, n})
		}
		if x.Gone {
			delete(s.entries, n)
			continue
		}
		if x.Indexed != 0 && x.Filed != x.Indexed {
			s.index[filed{x.Indexed, n}] = true
			s.from = min(s.from, x.Indexed)
		}
		if !x.Whole {
			x.Value = s.entries[n].Value
		}
		x.Whole, x.Value = true, []byte(string(x.Value))
		s.entries[n] = x
	}
	s.m = s.m.Thaw()
}

func (f filed) key() []byte { return fmt.Append(nil, f.due, f.place, f.text) }

// sweep deals with what is due, as the sweeper does.
func (s *store) sweep(t *testing.T, now int64) {
	t.Helper()
	s.note("sweep at %d", now)
	due := map[filed]bool{} // true if it is in the tree
	for f := range s.index {
		if s.from <= f.due && f.due <= now {
			due[f] = true
		}
	}
	for _, g := range []*Generation{s.m.Now(), s.m.Frozen()} {
		if g == nil {
			continue
		}
		for _, x := range g.Filings.Take(now, 1000) {
			_, text := g.Name(x.Ref)
			f := filed{x.Due, name{x.Place, string(text)}}
			if !due[f] {
				due[f] = false
			}
		}
	}
	for f, tree := range due {
		x, found := s.get(f.name)
		switch {
		case !found || x.Indexed != f.due:
		case x.Deadline <= now:
			s.change(f.name, State{Gone: true})
			delete(s.truth, f.name)
		default:
			x.Whole, x.Indexed, x.Filed = false, x.Deadline, x.Indexed
			s.m.Now().Keep(f.place, []byte(f.text), x, x.Indexed)
		}
		if tree && !s.m.Removes(f.place, []byte(f.text), f.due) {
			s.m.Now().AddStale(f.key())
		}
	}
	s.from = now + 1
	for n, x := range s.truth {
		if x.Deadline != 0 && x.Deadline <= now {
			t.Fatalf("%v was due at %d\n%s", n, x.Deadline, strings.Join(s.steps, "\n"))
		}
	}
}

// check compares what a client finds with what it has to find, by name and by walking.
func (s *store) check(t *testing.T, names []name) {
	t.Helper()
	for _, n := range names {
		x, found := s.get(n)
		want, exists := s.truth[n]
		if found != exists || string(x.Value) != string(want.Value) || x.Deadline != want.Deadline {
			t.Fatalf("%v is %q until %d (%v), want %q until %d (%v)\n%s", n, x.Value, x.Deadline, found, want.Value,
				want.Deadline, exists, strings.Join(s.steps, "\n"))
		}
	}
	walked := map[name]bool{}
	for space := range uint16(3) {
		if !s.m.Hides(space) {
			for n := range s.entries {
				walked[n] = spaceOf(n.place) == space || walked[n]
			}
		}
		for _, part := range []int{PartOf(0), PartOf(secondPart)} {
			list := Newest(s.m.Part(nil, part, space))
			if !slices.IsSortedFunc(list, Record.Compare) {
				t.Fatalf("part %d is not in order", part)
			}
			for _, x := range list {
				walked[name{x.Place, string(x.Name)}] = !x.State.Gone
			}
		}
	}
	for _, n := range names {
		if _, exists := s.truth[n]; walked[n] != exists {
			t.Fatalf("who walks meets %v: %v, want %v\n%s", n, walked[n], exists, strings.Join(s.steps, "\n"))
		}
	}
}

// Ensure that what a client finds is what was written, whatever goes to the tree when; that the index
// of the tree, with the filings of the memory, knows of every record with a deadline; and that when
// all have ended nothing is left in it.
func TestMemory_Model(t *testing.T) {
	t.Parallel()
	var names []name
	for space := range uint64(3) {
		for _, text := range []string{"a", "b"} {
			names = append(names, name{space << hashBits, text}, name{space<<hashBits | secondPart, text})
		}
	}
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 3))
		s := newStore()
		s.note("seed %d", seed)
		for range 120 {
			n := names[rng.IntN(len(names))]
			deadline := []int64{0, s.now + rng.Int64N(10) + 1, s.now/8*8 + 8}[rng.IntN(3)] // often the same
			switch rng.IntN(12) {
			case 0, 1, 2:
				s.put(n, fmt.Sprint(rng.IntN(1000)), deadline)
			case 3, 4, 5:
				s.touch(n, deadline)
			case 6:
				s.remove(n)
			case 7:
				s.flush(uint16(rng.IntN(3)))
			case 8:
				if s.m.Frozen() == nil {
					s.note("freeze")
					s.m = s.m.Freeze()
				}
			case 9:
				if s.m.Frozen() != nil {
					s.apply()
				}
			default:
				s.now += rng.Int64N(4)
				s.sweep(t, s.now)
			}
			s.check(t, names)
		}
		s.settle()
		s.checkIndex(t)
		s.sweep(t, 1<<40)
		s.settle()
		for n, x := range s.truth {
			if x.Deadline != 0 {
				t.Fatalf("%v stays\n%s", n, strings.Join(s.steps, "\n"))
			}
		}
		if len(s.index) > 0 {
			t.Fatalf("%v are left in the index\n%s", s.index, strings.Join(s.steps, "\n"))
		}
	}
}

// settle brings everything to the tree.
func (s *store) settle() {
	for range 2 {
		if s.m.Frozen() == nil {
			s.m = s.m.Freeze()
		}
		s.apply()
	}
}

// checkIndex wants one entry of the index for each record with a deadline that is not later than it.
func (s *store) checkIndex(t *testing.T) {
	t.Helper()
	for n, x := range s.entries {
		if x.Deadline != 0 && (x.Indexed > x.Deadline || !s.index[filed{x.Indexed, n}]) {
			t.Fatalf("%v, due at %d, is filed at %d: %v\n%s", n, x.Deadline, x.Indexed, s.index, strings.Join(s.steps, "\n"))
		}
	}
}

func BenchmarkMemory_Keep(b *testing.B) {
	const records = 10_000
	places, names := benchNames(records)
	m := NewMemory()
	rng := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for b.Loop() {
		i := rng.IntN(records)
		m.Now().Keep(places[i], names[i], State{Size: 512, Deadline: 1000, Indexed: 900, Filed: 900, Revision: 1}, 0)
	}
}
