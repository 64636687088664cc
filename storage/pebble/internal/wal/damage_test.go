package wal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// worn is a log of two lives in three segments, after the end of a process.
type worn struct {
	disk   *disk
	older  *disk // the same disk some frames earlier
	memory *shared
	from   LSN
	frames []written // that are needed
	synced LSN
	stated LSN // what a frame says of stable storage
}

// wear makes a log whose last frames are in the kernel alone unless it was closed.
func wear(t *testing.T, closed bool) *worn {
	t.Helper()
	w := &worn{disk: newDisk(), memory: &shared{}}
	l := create(t, testConfig(w.disk, w.memory))
	w.from = l.End()
	add := func(n int) {
		for range n {
			payload := fmt.Sprint(len(w.frames), " ", strings.Repeat("x", 50*(len(w.frames)%9)))
			end, err := l.Append(framed(payload))
			if err != nil {
				t.Fatal(err)
			}
			w.frames = append(w.frames, written{end, payload})
		}
		if err := l.Write(); err != nil {
			t.Fatal(err)
		}
	}
	sync := func() {
		if err := l.Sync(context.Background(), l.End()); err != nil {
			t.Fatal(err)
		}
	}
	add(5)
	sync()
	w.from = w.frames[1].end
	w.frames = w.frames[2:]
	if err := l.Release(w.from); err != nil {
		t.Fatal(err)
	}
	add(12)
	l.background.Wait()
	l, _, err := Open(testConfig(w.disk, w.memory), w.from, func(Frame) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	add(9)
	sync()
	w.older = w.disk.copied()
	for _, n := range []int{9, 4} {
		add(n)
		sync()
	}
	w.stated = l.Synced()
	add(3)
	w.synced = l.Synced()
	l.background.Wait()
	if closed {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		w.synced = l.Synced()
	}
	return w
}

// open opens a copy of the log and returns how many of its frames are there.
func (w *worn) open(t *testing.T, d *disk, memory *shared) (n int, found Found, err error) {
	t.Helper()
	config := testConfig(d, memory)
	if memory.bytes != nil {
		d.files[d.Join(testDir, markName)] = &inode{data: memory.bytes}
	}
	read := 0
	inspected, inspectErr := Inspect(config, w.from, func(Frame) error { read++; return nil })
	var got []written
	l, found, err := Open(config, w.from, func(f Frame) error {
		got = append(got, written{f.LSN, string(f.Payload)})
		return nil
	})
	if fmt.Sprint(err) != fmt.Sprint(inspectErr) || err == nil && (read != len(got) || inspected.End != found.End || inspected.Exact != found.Exact) {
		t.Fatalf("Inspect = %+v, %v; Open = %+v, %v", inspected, inspectErr, found, err)
	}
	if err != nil {
		return 0, found, err
	}
	l.background.Wait()
	if len(got) > len(w.frames) || !slices.Equal(got, w.frames[:len(got)]) {
		t.Fatalf("%d frames are there, not the first of those that were written", len(got))
	}
	return len(got), found, nil
}

// Ensure that whatever becomes of one file of the log between two starts, the next one finds
// everything, or refuses and says which file; and that nothing is changed by a refusal.
func TestOpen_Damage(t *testing.T) {
	t.Parallel()
	type harm struct {
		name string
		do   func(d *disk, file string)
	}
	resize := func(n int) func(*disk, string) {
		return func(d *disk, file string) {
			node := d.files[file]
			if n > len(node.data) {
				node.data = append(node.data, make([]byte, n-len(node.data))...)
			}
			node.data = node.data[:n]
		}
	}
	harms := []harm{
		{"missing", func(d *disk, file string) { delete(d.files, file) }},
		{"empty", resize(0)},
		{"cut at a header", resize(40)},
		{"cut", resize(1000)},
		{"cut by a byte", resize(4<<10 - 1)},
		{"grown", resize(16 << 10)},
	}
	flip := func(b []byte, bit int) {
		if bit/8 < len(b) {
			b[bit/8] ^= 1 << (bit % 8)
		}
	}
	const stride = 149 // not a multiple of what the fields have
	for bit := 0; bit < 8*(controlPage+controlSize); bit += stride {
		harms = append(harms, harm{fmt.Sprint("bit ", bit), func(d *disk, file string) {
			flip(d.files[file].data, bit)
		}})
	}
	for _, closed := range []bool{true, false} {
		for _, mark := range []string{"exact", "of another run", "none"} {
			t.Run(fmt.Sprintf("closed=%v/mark=%s", closed, mark), func(t *testing.T) {
				t.Parallel()
				w := wear(t, closed)
				kept := LSN(1 << 60)
				switch mark {
				case "of another run":
					w.memory.boot++
					kept = w.synced
				case "none":
					w.memory = &shared{}
					kept = w.stated
				}
				check := func(what string, d *disk, memory *shared) (refused bool) {
					before := d.copied()
					n, found, err := w.open(t, d, memory)
					var damage *Damage
					switch {
					case err == nil && n == len(w.frames):
					case err == nil && w.frames[n].end > kept && (found.Lost > 0 || mark == "none" && !found.Exact):
					case err == nil:
						t.Fatalf("%s: %d of %d frames are there: %+v", what, n, len(w.frames), found)
					case errors.Is(err, ErrMissing), errors.Is(err, ErrNewer):
						refused = true
					case !errors.As(err, &damage):
						t.Fatalf("%s: %v, which does not say where", what, err)
					default:
						refused = true
					}
					for name, node := range before.files {
						if refused && !slices.Equal(d.files[name].data, node.data) {
							t.Fatalf("%s: refused, and %s was changed", what, name)
						}
					}
					return refused
				}
				refusals := 0
				for file := range w.disk.files {
					for _, h := range harms {
						d := w.disk.copied()
						h.do(d, file)
						if check(file+" "+h.name, d, w.memory.after()) {
							refusals++
						}
					}
					if node := w.older.files[file]; node != nil {
						d := w.disk.copied()
						d.files[file] = node
						check(file+" of before", d, w.memory.after())
					}
				}
				for bit := range 8 * (markHead + 2*markSlot) {
					memory := w.memory.after()
					flip(memory.bytes, bit)
					check(fmt.Sprint("mark bit ", bit), w.disk.copied(), memory)
				}
				check("no mark", w.disk.copied(), &shared{})
				if check("as it was", w.disk.copied(), w.memory.after()) {
					t.Error("the log as it was left is refused")
				}
				if refusals < 100 {
					t.Errorf("%d refusals", refusals)
				}
			})
		}
	}
}

// FuzzOpen hands Open files that were changed anyhow: it finds a beginning of what was written,
// or refuses, and does not fail otherwise.
func FuzzOpen(f *testing.F) {
	f.Add(uint64(1), 0, 0, []byte("x"))
	f.Add(uint64(2), 1, 64, []byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, seed uint64, file, offset int, patch []byte) {
		w := wear(t, seed%2 == 0)
		rng := rand.New(rand.NewPCG(seed, 0))
		names := []string{segmentName(1), segmentName(2), segmentName(3), ControlName}
		node := w.disk.files[w.disk.Join(testDir, names[uint(file)%uint(len(names))])]
		if node == nil || len(node.data) == 0 {
			return
		}
		copy(node.data[uint(offset)%uint(len(node.data)):], patch)
		memory := w.memory
		if rng.IntN(2) == 0 {
			memory = &shared{bytes: make([]byte, markSize)}
			copy(memory.bytes, w.memory.bytes)
			copy(memory.bytes[uint(offset)%markSize:], patch)
		}
		_, _, err := w.open(t, w.disk, memory)
		var damage *Damage
		if err != nil && !errors.As(err, &damage) && !errors.Is(err, ErrNewer) {
			t.Errorf("Open: %v", err)
		}
	})
}
