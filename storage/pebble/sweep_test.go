package pebble

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/ttl"
)

// indexEntries returns how many index entries there are, stale ones included.
func indexEntries(t testing.TB, e *Engine) (n int) {
	t.Helper()
	bring(t, e)
	it, err := e.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.SeekGE([]byte{layout.PrefixIndex}); ok; ok = it.Next() {
		n++
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}

// Ensure that moving a deadline keeps one index entry for each record, and that an
// extension writes none.
func TestIndex_OneEntry(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{})
	defer closeTest(t, e)
	steps := []struct {
		what    string
		do      func()
		indexed ttl.Instant
	}{
		{"put", func() { put(t, e, "a", "1", 100) }, 100},
		{"extend", func() { setDeadline(t, e, "a", 500) }, 100},
		{"shorten above the index entry", func() { setDeadline(t, e, "a", 300) }, 100},
		{"shorten below it", func() { setDeadline(t, e, "a", 50) }, 50},
		{"persist", func() { setDeadline(t, e, "a", ttl.Never) }, ttl.Never},
		{"expire", func() { setDeadline(t, e, "a", 70) }, 70},
		{"overwrite with a later deadline", func() { put(t, e, "a", "2", 90) }, 70},
		{"overwrite with an earlier one", func() { put(t, e, "a", "2", 60) }, 60},
		{"overwrite without one", func() { put(t, e, "a", "3", ttl.Never) }, ttl.Never},
	}
	reader := reader{e: e}
	for _, s := range steps {
		s.do()
		x, found, err := reader.entry(layout.SlotOf(0, e.seed.Hash([]byte("a"))), []byte("a"))
		if err != nil || !found || x.Indexed != s.indexed {
			t.Errorf("%s: indexed at %d (%v, %v), want %d", s.what, x.Indexed, found, err, s.indexed)
		}
		want := 1
		if s.indexed == ttl.Never {
			want = 0
		}
		if n := indexEntries(t, e); n != want {
			t.Errorf("%s: %d index entries, want %d", s.what, n, want)
		}
	}
}

// Ensure that a record renewed after it was filed is kept and filed anew, and that a
// shortened one goes on time.
func TestSweep_MovedDeadlines(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{})
	defer closeTest(t, e)
	put(t, e, "renewed", "1", 100)
	setDeadline(t, e, "renewed", 500)
	put(t, e, "shortened", "1", 1000)
	setDeadline(t, e, "shortened", 50)
	before, _ := get(t, e, "renewed")

	if n, next, err := e.Sweep(context.Background(), 60, 512); n != 1 || next != 100 || err != nil {
		t.Errorf("Sweep(60) = %d, %d, %v, want 1, 100", n, next, err)
	}
	if _, found := get(t, e, "shortened"); found {
		t.Error("the shortened record is still there")
	}
	if n, next, err := e.Sweep(context.Background(), 499, 512); n != 1 || next != 500 || err != nil {
		t.Errorf("Sweep(499) = %d, %d, %v, want 1, 500", n, next, err)
	}
	if after, found := get(t, e, "renewed"); !found || after.Revision != before.Revision {
		t.Errorf("the renewed record = %+v, %v, want it untouched", after, found)
	}
	if n, next, err := e.Sweep(context.Background(), 500, 512); n != 1 || next != ttl.Never || err != nil {
		t.Errorf("Sweep(500) = %d, %d, %v, want 1, Never", n, next, err)
	}
	if n := indexEntries(t, e); n != 0 {
		t.Errorf("%d index entries are left", n)
	}
}

// Ensure that entries left behind by a flush go when they come due and harm no newer record.
func TestSweep_AfterFlush(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{})
	defer closeTest(t, e)
	for i := range 10 {
		put(t, e, fmt.Sprint("s", i), "1", 100)
	}
	bring(t, e)
	update(t, e, func(tx storage.Txn) error { return tx.Flush(0) })
	put(t, e, "s1", "2", 100) // the same index key again
	put(t, e, "s2", "2", 200)
	put(t, e, "s3", "2", ttl.Never)
	if stale := checkStore(t, e); stale != 9 {
		t.Errorf("%d stale index entries, want 9", stale)
	}
	if n := sweepAll(t, e, 99, 3); n != 0 {
		t.Errorf("%d entries were due at 99", n)
	}
	sweepAll(t, e, 150, 3)
	if stale := checkStore(t, e); stale != 0 {
		t.Errorf("%d stale index entries are left", stale)
	}
	for name, want := range map[string]bool{"s1": false, "s2": true, "s3": true} {
		if _, found := get(t, e, name); found != want {
			t.Errorf("%s found = %v, want %v", name, found, want)
		}
	}
}

// Ensure that a record filed below the fence, after the clock stepped back, is swept on
// time, and by the next process as well.
func TestSweep_ClockBack(t *testing.T) {
	t.Parallel()
	for _, reopen := range []bool{false, true} {
		fs := vfs.NewMem()
		e := openTest(t, fs, Options{})
		put(t, e, "old", "1", 900)
		sweepAll(t, e, 1000, 512)
		sweepAll(t, e, 45, 512)
		put(t, e, "seen before", "1", 48)
		checkStore(t, e)
		put(t, e, "unseen", "1", 40) // the sweeper does not know yet
		if reopen {
			closeTest(t, e)
			e = openTest(t, fs, Options{})
		}
		sweepAll(t, e, 10, 512)
		put(t, e, "seen", "1", 50)
		if reopen {
			closeTest(t, e)
			e = openTest(t, fs, Options{})
		}
		sweepAll(t, e, 39, 512)
		if _, found := get(t, e, "unseen"); !found {
			t.Error("a live record was swept")
		}
		sweepAll(t, e, 50, 512)
		for _, name := range []string{"unseen", "seen", "seen before"} {
			if _, found := get(t, e, name); found {
				t.Errorf("reopen %v: %q is still there after its deadline", reopen, name)
			}
		}
		closeTest(t, e)
	}
}

// Ensure that a sweep waits for updates that are under way, and removes what they store.
func TestSweep_WaitsForUpdates(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{})
	defer closeTest(t, e)
	var swept atomic.Bool
	var sweeper sync.WaitGroup
	k := keyOf("a")
	update(t, e, func(tx storage.Txn) error {
		sweeper.Go(func() {
			sweepAll(t, e, 100, 512)
			swept.Store(true)
		})
		for range 10_000 {
			runtime.Gosched()
		}
		if swept.Load() {
			t.Error("the sweep is over while an update is under way")
		}
		return tx.Put(k, storage.Record{Kind: storage.KindString, Deadline: 50})
	}, k)
	sweeper.Wait()
	if _, found := get(t, e, "a"); found {
		t.Error("the record that was filed during the sweep was forgotten")
	}
}

// Ensure that the sweeper neither loses a live record nor forgets a dead one while others
// renew, shorten, delete and create, with its own clock jumping.
func TestSweep_Concurrent(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{})
	defer closeTest(t, e)
	const writers, names, rounds = 4, 20, 300
	const alive, dead = 1 << 30, 1
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	stop := make(chan struct{})
	var sweeper, group sync.WaitGroup
	sweeper.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 0))
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, _, err := e.Sweep(context.Background(), ttl.Instant(500+rng.IntN(500)), 16); err != nil {
				t.Error(err)
			}
		}
	})
	for w := range writers {
		group.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(w+1)))
			for range rounds {
				name := fmt.Sprint(w, "-", rng.IntN(names))
				switch rng.IntN(5) {
				case 0: // renewed at the last moment: must be kept
					put(t, e, name, "v", ttl.Instant(400+rng.IntN(700)))
					put(t, e, name, "kept", alive)
					if _, found := get(t, e, name); !found {
						t.Errorf("%s is gone and had a later deadline", name)
					}
				case 1:
					put(t, e, name, "v", ttl.Instant(1+rng.IntN(2000)))
				case 2:
					put(t, e, name, "v", ttl.Never)
				case 3:
					put(t, e, name, "v", alive)
					setDeadline(t, e, name, dead)
				case 4:
					k := keyOf(name)
					update(t, e, func(tx storage.Txn) error { return tx.Delete(k) }, k)
				}
			}
			put(t, e, fmt.Sprint(w, "-last"), "kept", alive)
		})
	}
	group.Wait()
	close(stop)
	sweeper.Wait()
	sweepAll(t, e, alive-1, 64)
	if stale := checkStore(t, e); stale != 0 {
		t.Errorf("%d stale index entries are left", stale)
	}
	_, err := e.View(context.Background(), storage.Whole, func(r storage.Reader) error {
		_, err := r.Scan(0, 0, writers*(names+1), func(k storage.Key, rec storage.Record) bool {
			if rec.Deadline.Due(alive - 1) {
				t.Errorf("%q with deadline %d was not swept", k.Name, rec.Deadline)
			}
			return true
		})
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for w := range writers {
		if _, found := get(t, e, fmt.Sprint(w, "-last")); !found {
			t.Errorf("%d-last was swept alive", w)
		}
	}
	if sweepAll(t, e, alive, 64); indexEntries(t, e) != 0 {
		t.Errorf("%d index entries are left", indexEntries(t, e))
	}
}

// Ensure that Swept counts what Sweep has removed, and nothing else.
func TestSwept(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{})
	defer closeTest(t, e)
	for i := range 10 {
		put(t, e, fmt.Sprint("ends", i), "v", 100)
		put(t, e, fmt.Sprint("stays", i), "v", ttl.Never)
		put(t, e, fmt.Sprint("extended", i), "v", 100)
		setDeadline(t, e, fmt.Sprint("extended", i), 200)
		put(t, e, fmt.Sprint("deleted", i), "v", 100)
		gone := keyOf(fmt.Sprint("deleted", i))
		update(t, e, func(tx storage.Txn) error { return tx.Delete(gone) }, gone)
	}
	for _, step := range []struct {
		now  ttl.Instant
		want int64
	}{{99, 0}, {100, 10}, {150, 10}, {200, 20}} {
		sweepAll(t, e, step.now, 3)
		if got := e.Swept(); got != step.want {
			t.Errorf("Swept = %d after a sweep at %d, want %d", got, step.now, step.want)
		}
	}
}
