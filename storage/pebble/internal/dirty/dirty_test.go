package dirty

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// name is a record's in the model.
type name struct {
	place uint64
	text  string
}

// random returns one of few names, of which some share a place and some share a part.
func random(rng *rand.Rand) name {
	hash := []uint64{0, 1, 1 << 38, 1<<38 + 5, 1<<48 - 1, rng.Uint64N(1 << 48)}[rng.IntN(6)]
	return name{rng.Uint64N(3)<<48 | hash, fmt.Sprint("name ", rng.IntN(3))}
}

func randomState(rng *rand.Rand) State {
	s := State{
		Kind: byte(rng.IntN(3)), Deadline: rng.Int64N(100), Indexed: rng.Int64N(100), Filed: rng.Int64N(100),
		Revision: rng.Uint64(),
	}
	switch rng.IntN(4) {
	case 0:
		return State{Gone: true, Filed: s.Filed}
	case 1:
		s.Size = rng.Uint32N(1000)
	default:
		s.Whole = true
		s.Value = bytes.Repeat([]byte{byte(rng.Uint32())}, []int{0, 1, 7, 8, 100, 1000, LargeValue, LargeValue + 1}[rng.IntN(8)])
		s.Size = uint32(len(s.Value))
	}
	return s
}

// after returns what the state is after Put of s.
func (was State) after(s State) State {
	switch {
	case s.Gone:
		return s
	case !s.Whole && was.Whole && !was.Gone:
		s.Whole, s.Value, s.Size = true, was.Value, was.Size
	}
	return s
}

func equal(a, b State) bool {
	value := bytes.Equal(a.Value, b.Value)
	a.Value, b.Value = nil, nil
	if a.Gone {
		return b.Gone && a.Filed == b.Filed
	}
	return value && fmt.Sprint(a) == fmt.Sprint(b)
}

// Ensure that a table has of each record what was put last, and the value of the last who gave one,
// in the order of places and names.
func TestTable_Model(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var table Table
		model := map[name]State{}
		for range 3000 {
			n := random(rng)
			if rng.IntN(500) == 0 {
				space := uint16(rng.IntN(3))
				table.Drop(space)
				for k, s := range model {
					if uint16(k.place>>48) == space {
						model[k] = State{Gone: true, Filed: s.Filed}
					}
				}
				continue
			}
			s := randomState(rng)
			was, known := model[n]
			if known {
				s.Filed = was.Filed
			}
			if !s.Whole && was.Whole { // who moves a deadline knows the size
				s.Size = was.Size
			}
			model[n] = was.after(s)
			r, _ := table.Put(n.place, []byte(n.text), s)
			if got := table.Get(r); !equal(got, model[n]) {
				t.Fatalf("seed %d: after Put of %+v: %+v, want %+v", seed, s, got, model[n])
			}
		}
		checkTable(t, &table, model)
	}
}

func checkTable(t *testing.T, table *Table, model map[name]State) {
	t.Helper()
	var names []name
	for x := range table.All() {
		n := name{x.Place, string(x.Name)}
		names = append(names, n)
		if !equal(x.State, model[n]) {
			t.Errorf("%v is %+v, want %+v", n, x.State, model[n])
		}
		r, ok := table.Find(x.Place, x.Name)
		if !ok || !equal(table.Get(r), x.State) {
			t.Errorf("Find(%v) = %v, %v", n, r, ok)
		}
		if place, text := table.Name(r); place != x.Place || !bytes.Equal(text, x.Name) {
			t.Errorf("%v has the name %x %s", n, place, text)
		}
	}
	if len(names) != len(model) || len(names) != table.Len() {
		t.Errorf("%d records, Len %d, want %d", len(names), table.Len(), len(model))
	}
	if !slices.IsSortedFunc(names, func(a, b name) int { return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.text, b.text)) }) {
		t.Error("the records are not in order")
	}
	if _, ok := table.Find(77, []byte("nobody")); ok {
		t.Error("a record that nobody put")
	}
	for n := range Parts {
		for space := range uint16(3) {
			for _, r := range table.Part(nil, n, space) {
				if PartOf(r.Place) != n || spaceOf(r.Place) != space {
					t.Errorf("place %x in part %d of space %d", r.Place, n, space)
				}
			}
		}
	}
}

// benchNames returns the names of sessions, and their places.
func benchNames(n int) (places []uint64, names [][]byte) {
	for i := range n {
		names = append(names, fmt.Appendf(nil, "sess:%019d", i))
		places = append(places, uint64(i)*0x9E3779B97F4A7C15>>16)
	}
	return places, names
}

func BenchmarkTable_Touch(b *testing.B) {
	for _, records := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint(records), func(b *testing.B) {
			places, names := benchNames(records)
			var table Table
			rng := rand.New(rand.NewPCG(1, 2))
			b.ReportAllocs()
			for b.Loop() {
				i := rng.IntN(records)
				table.Put(places[i], names[i], State{Size: 512, Deadline: 1000, Indexed: 900, Filed: 900, Revision: 1})
			}
		})
	}
}

func BenchmarkTable_Find(b *testing.B) {
	const records = 100_000
	places, names := benchNames(records)
	var table Table
	for i := range records {
		table.Put(places[i], names[i], State{})
	}
	rng := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for b.Loop() {
		i := rng.IntN(2 * records)
		if i < records {
			table.Find(places[i], names[i])
		} else {
			table.Find(uint64(i), names[i-records])
		}
	}
}

func BenchmarkTable_All(b *testing.B) {
	const records = 100_000
	places, names := benchNames(records)
	var table Table
	value := binary.BigEndian.AppendUint64(nil, 1)
	for i := range records {
		table.Put(places[i], names[i], State{Whole: true, Size: 8, Value: value})
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for range table.All() {
			n++
		}
		if n != records {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(table.Allocated())/records, "B/record")
}
