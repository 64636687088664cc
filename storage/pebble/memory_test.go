package pebble

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// Ensure that two records may trade their values, which are read where the memory has them and then
// written there.
func TestTxn_TradePlaces(t *testing.T) {
	t.Parallel()
	for name, size := range caches {
		e := openTest(t, vfs.NewMem(), Options{RecordBytes: size})
		a, b := keyOf("a"), keyOf("b")
		put(t, e, "a", "of a", ttl.Never)
		put(t, e, "b", "of b", ttl.Never)
		update(t, e, func(tx storage.Txn) error {
			x, _, err := tx.Get(a)
			if err != nil {
				return err
			}
			y, _, err := tx.Get(b)
			if err != nil {
				return err
			}
			if err := tx.Put(a, y); err != nil {
				return err
			}
			return tx.Put(b, x)
		}, a, b)
		want := world{spot{0, "a"}: {"of b", ttl.Never}, spot{0, "b"}: {"of a", ttl.Never}}
		if found := survey(t, e); !maps.Equal(found, want) {
			t.Errorf("%s: found %v, want %v", name, found, want)
		}
		closeTest(t, e)
	}
}

// Ensure that a change that fits no segment of the log comes to the tree as a whole, though it is more
// than a checkpoint writes at once, whenever the process or the machine ends.
func TestLog_LargeIsWhole(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
	m, fs := newMoments(vfs.NewCrashableMem(), rng)
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1), LogBytes: minLogBytes})
	defer closeTest(t, e)
	m.gather(true)
	update(t, e, func(tx storage.Txn) error {
		for i := range 5 {
			rec := storage.Record{Kind: storage.KindString, Value: []byte(strings.Repeat("x", 100_000))}
			if err := tx.Put(keyOf(fmt.Sprint(i)), rec); err != nil {
				return err
			}
		}
		return nil
	})
	for _, x := range m.gather(false) {
		survivor := openTest(t, x.disk, Options{})
		if n := len(survey(t, survivor)); n != 0 && n != 5 {
			t.Errorf("%s: %d of 5 records", x.when, n)
		}
		closeTest(t, survivor)
	}
}

// Ensure that what a sweep does while a checkpoint is under way does not count as in the tree: a record
// that it filed anew, which only the memory hears of, goes on time after the end of the process.
func TestSweep_DuringCheckpoint(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1)})
	put(t, e, "extended", "1", 100)
	setDeadline(t, e, "extended", 500)
	bring(t, e)
	put(t, e, "other", "1", ttl.Never)
	if !e.freeze() {
		t.Fatal("there is nothing to freeze")
	}
	sweepAll(t, e, 150, 512)
	if err := e.checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	survivor := openTest(t, afterCrash(fs, kill, 1), Options{})
	sweepAll(t, survivor, 500, 512)
	if _, found := get(t, survivor, "extended"); found {
		t.Error("the record is still there after its deadline")
	}
	closeTest(t, survivor)
	closeTest(t, e)
}

// Ensure that what a start finds in the log goes on time: nothing of it is in the index of the tree.
func TestSweep_AfterKill(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1)})
	put(t, e, "a", "1", 100)
	syncTo(t, e, setDeadline(t, e, "a", 200))
	survivor := openTest(t, afterCrash(fs, kill, 1), Options{})
	if n, next, err := survivor.Sweep(t.Context(), 199, 512); n != 0 || next != 200 || err != nil {
		t.Errorf("Sweep(199) = %d, %d, %v, want 0, 200", n, next, err)
	}
	if n, next, err := survivor.Sweep(t.Context(), 200, 512); n != 1 || next != ttl.Never || err != nil {
		t.Errorf("Sweep(200) = %d, %d, %v, want 1, Never", n, next, err)
	}
	closeTest(t, survivor)
	closeTest(t, e)
}

// Ensure that a record that is filed again where the tree has it, behind a sweep that has filed it
// elsewhere, is swept when time comes there again.
func TestSweep_FiledBehind(t *testing.T) {
	t.Parallel()
	for _, reopen := range []bool{false, true} {
		fs := vfs.NewMem()
		e := openTest(t, fs, Options{})
		put(t, e, "a", "1", 100)
		bring(t, e)
		setDeadline(t, e, "a", 500)
		sweepAll(t, e, 150, 512)
		setDeadline(t, e, "a", 100) // the clock stepped back, and the sweeper does not know yet
		bring(t, e)
		if reopen {
			closeTest(t, e)
			e = openTest(t, fs, Options{})
		}
		sweepAll(t, e, 200, 512)
		if _, found := get(t, e, "a"); found {
			t.Errorf("reopen %v: the record is still there after its deadline", reopen)
		}
		closeTest(t, e)
	}
}

// Ensure that a sweep which removes nothing, but files many records anew, waits for checkpoints as
// others do: the log does not grow with it, and the memory does.
func TestSweep_MemoryIsBounded(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{Clock: ttl.NewManual(1), LogBytes: minLogBytes})
	defer closeTest(t, e)
	const records = 4_000
	for i := range records {
		name := fmt.Sprintf("%01000d", i)
		put(t, e, name, "1", 100)
		setDeadline(t, e, name, 1000)
	}
	bring(t, e)
	for swept := 0; swept < records; {
		n, _, err := e.Sweep(t.Context(), 150, 512)
		if err != nil || n == 0 {
			t.Fatalf("Sweep = %d, %v", n, err)
		}
		if swept += n; e.memory.Load().Bytes() > 3*e.log.Most() {
			t.Fatalf("%d bytes are in memory, for a log of %d", e.memory.Load().Bytes(), e.log.Most())
		}
	}
}

// shortLived is a context that ends when it was asked for the n-th time.
type shortLived struct {
	context.Context
	n int
}

func (c *shortLived) Err() error {
	if c.n--; c.n < 0 {
		return context.Canceled
	}
	return nil
}

// Ensure that what a sweep took from the memory and did not come to is swept by the next one.
func TestSweep_BrokenOff(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{})
	defer closeTest(t, e)
	const records = 3 * sweepChunk
	for i := range records {
		put(t, e, fmt.Sprint(i), "1", 100)
	}
	n, _, err := e.Sweep(&shortLived{t.Context(), 2}, 100, records)
	if err == nil || n == 0 || n == records {
		t.Errorf("Sweep = %d, %v, want a part and an error", n, err)
	}
	sweepAll(t, e, 100, records)
	if left := len(survey(t, e)); left > 0 {
		t.Errorf("%d records are left after their deadline", left)
	}
}

// Ensure that the index hears of what a checkpoint brought to the tree before the memory forgets it.
func TestCheckpoint_TellsTheIndexFirst(t *testing.T) {
	t.Parallel()
	var armed, locked atomic.Bool
	var e *Engine
	fs := &tapFS{FS: vfs.NewMem(), before: func(op fileOp) error {
		if is(opCreate, "*.sst")(op) && armed.CompareAndSwap(true, false) {
			e.index.mu.Lock()
			locked.Store(true)
		}
		return nil
	}}
	e = openTest(t, fs, Options{Clock: ttl.NewManual(1)})
	put(t, e, "a", "1", 100)
	flushes := e.db.Metrics().Flush.Count
	armed.Store(true)
	var group sync.WaitGroup
	group.Go(func() {
		if err := e.checkpoint(t.Context()); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the tree has it", func() bool { return locked.Load() && e.db.Metrics().Flush.Count > flushes })
	for range 10_000 {
		runtime.Gosched()
	}
	if e.memory.Load().Frozen() == nil {
		t.Error("neither the memory nor the index knows of the record")
	}
	e.index.mu.Unlock()
	group.Wait()
	closeTest(t, e)
}
