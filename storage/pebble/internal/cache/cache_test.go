package cache

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/ttl"
)

// check holds a shard to what its fields say, and calls fn for each record.
func (s *shard) check(t testing.TB, fn func(p layout.HashSlot, name []byte, x layout.Header, value []byte, whole bool)) {
	t.Helper()
	n := 0
	s.each(func(at int) {
		n++
		p, name := s.place(at), s.name(at)
		if got, _ := s.find(mix(p), p, name); got != at {
			t.Errorf("the record at %d is found at %d", at, got)
		}
		s.show(at, fn)
	})
	slots := 0
	for _, t := range s.table {
		if t != 0 {
			slots++
		}
	}
	if n != s.used || slots != s.used {
		t.Errorf("%d records and %d slots, used says %d", n, slots, s.used)
	}
}

// Ensure that the cache never tells anything but the last that was put in, through evictions,
// drops and growing and shrinking values, and keeps to its bytes.
func TestCache_AgainstAMap(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{1 << 10, 10_000, 3 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 0))
			f := New(size)
			type known struct {
				x     layout.Header
				value string
			}
			model := map[string]known{}
			hits := 0
			for step := range 40_000 {
				n := rng.IntN(300)
				name := fmt.Sprint("n", n)
				p := layout.SlotOf(uint16(n%3), uint64(n)*0x5bd1e995&layout.HashMask)
				switch rng.IntN(10) {
				case 0:
					f.Drop(p, []byte(name))
					delete(model, name)
				case 1, 2, 3:
					value := bytes.Repeat([]byte{byte(step)}, rng.IntN(rng.IntN(400)+1))
					x := layout.Header{Kind: 1, Deadline: ttl.Instant(step), Indexed: 7, Revision: uint64(step), Size: uint32(len(value))}
					f.Put(p, []byte(name), x, value, true)
					model[name] = known{x, string(value)}
				case 4, 5:
					if k, ok := model[name]; ok {
						k.x.Deadline, k.x.Revision = ttl.Instant(step), uint64(step)
						f.Put(p, []byte(name), k.x, nil, false)
						model[name] = k
					}
				case 6:
					if rng.IntN(500) == 0 {
						f.DropDB(1)
						for name := range model {
							var n int
							_, _ = fmt.Sscanf(name, "n%d", &n)
							if n%3 == 1 {
								delete(model, name)
							}
						}
					}
				default:
					k, ok := model[name]
					x, value, found, whole := f.Get([]byte("before "), p, []byte(name))
					if found && (!ok || x != k.x) {
						t.Fatalf("step %d: %s is %+v, want %+v, %v", step, name, x, k.x, ok)
					}
					if whole && string(value) != "before "+k.value {
						t.Fatalf("step %d: %s has %d bytes, want %d", step, name, len(value), len(k.value))
					}
					if y, ok := f.Stat(p, []byte(name)); ok != found || y != x {
						t.Fatalf("step %d: stat of %s is %+v, get's %+v", step, name, y, x)
					}
					if found {
						hits++
					}
				}
			}
			if hits == 0 {
				t.Error("nothing was ever found")
			}
			for i := range f.shards {
				s := &f.shards[i]
				s.check(t, func(layout.HashSlot, []byte, layout.Header, []byte, bool) {})
				if len(s.ring) > int(size) {
					t.Errorf("a ring of %d bytes, want at most %d", len(s.ring), size)
				}
			}
		})
	}
}

// Ensure that what is used stays and what is not goes.
func TestCache_KeepsWhatIsUsed(t *testing.T) {
	t.Parallel()
	f := New(64 << 10)
	value := make([]byte, 500)
	x := layout.Header{Kind: 1, Size: 500}
	has := func(n int) bool {
		_, found := f.Stat(layout.HashSlot(n), nil)
		return found
	}
	var kept []int
	for n := range 2000 {
		f.Put(layout.HashSlot(n), nil, x, value, true)
		for hot := range spares {
			if n%20 == 0 && has(hot) && !slices.Contains(kept, hot) {
				kept = append(kept, hot)
			}
		}
	}
	for hot := range spares {
		if !has(hot) {
			t.Errorf("record %d was used all the time and is gone", hot)
		}
	}
	if has(100) || !has(1999) {
		t.Errorf("record 100 found %v, 1999 found %v", has(100), has(1999))
	}
}

// Ensure that a hit costs no allocation.
func TestCache_Get_AllocatesNothing(t *testing.T) {
	f := New(1 << 20)
	f.Put(5, []byte("name"), layout.Header{Kind: storage.KindString, Size: 5}, []byte("value"), true)
	dst := make([]byte, 0, 100)
	if n := testing.AllocsPerRun(100, func() { f.Get(dst, 5, []byte("name")) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCache_Get(b *testing.B) {
	f := New(64 << 20)
	value := make([]byte, 512)
	name := []byte("sess:0123456789abcdef0123456789abcdef")
	for n := range 50_000 {
		f.Put(layout.SlotOf(0, uint64(n)*0x9E3779B97F4A7C15&layout.HashMask), name, layout.Header{Kind: 1, Size: 512}, value, true)
	}
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if _, _, found, _ := f.Get(dst, layout.SlotOf(0, uint64(n%50_000)*0x9E3779B97F4A7C15&layout.HashMask), name); !found {
			b.Fatal("not there")
		}
		n++
	}
}
