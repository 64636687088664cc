package pebble

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// testNumber returns the number in an environment variable, or without.
func testNumber(t testing.TB, variable string, without int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return without
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// phases are the moments of a life in which a power cut comes, at a random file operation.
var phases = []string{"open", "work", "flush", "compaction", "sweep", "close", "rest"}

// fuse takes the disk away at the n-th file operation after it was lit.
type fuse struct {
	left  atomic.Int64 // operations; 0 if it is not lit
	blown atomic.Bool
	cut   *cut // once blown
	take  func() *cut
}

func (f *fuse) light(n int) {
	if !f.blown.Load() {
		f.left.CompareAndSwap(0, int64(n))
	}
}

func (f *fuse) count(fileOp) {
	if f.left.Load() > 0 && f.left.Add(-1) == 0 {
		f.blow()
	}
}

func (f *fuse) blow() {
	if f.blown.CompareAndSwap(false, true) {
		f.cut = f.take()
	}
}

// life is one store from its opening to the next power cut.
type life struct {
	*ledger
	t       testing.TB
	rng     *rand.Rand
	phase   string
	fuse    fuse
	changes int // how many are made, if the power lasts
}

// live opens the store on disk, lets several goroutines work on it until the power is cut,
// and returns what the cut left.
func (l *life) live(disk *vfs.MemFS, share int, seed uint64) *cut {
	l.fuse.take = func() *cut { return l.ledger.cut(disk, l.phase, share, seed) }
	before := func(op fileOp) error {
		l.fuse.count(op)
		return nil
	}
	if l.phase == "open" {
		l.fuse.light(1 + l.rng.IntN(40))
	}
	fs := &tapFS{FS: disk, before: before, after: l.fuse.count}
	e := openCut(l.t, fs, Options{Durability: l.mode, Clock: l.clock})
	if l.phase == "work" {
		l.fuse.light(1 + l.rng.IntN(400))
	}
	l.work(e)
	if !l.fuse.blown.Load() {
		l.drain(l.t, e, l.rng)
	}
	if l.phase == "close" {
		l.fuse.light(1 + l.rng.IntN(20))
	}
	if l.phase == "rest" {
		l.fuse.blow()
	}
	if err := e.Close(); err != nil {
		l.t.Errorf("Close: %v", err)
	}
	l.fuse.blow()
	return l.fuse.cut
}

// openCut opens a store whose tables in memory are so small that a short life flushes and
// compacts several times.
func openCut(t testing.TB, fs vfs.FS, opts Options) *Engine {
	t.Helper()
	opts.MemTableSize = 32 << 10
	return openTest(t, fs, opts)
}

// work runs writers, readers, the sweeper and Pebble's housekeeping side by side.
func (l *life) work(e *Engine) {
	var group, rest sync.WaitGroup
	var done atomic.Bool
	over := func() bool { return done.Load() || l.fuse.blown.Load() }
	each := func(g *sync.WaitGroup, do func(rng *rand.Rand) error) {
		rng := rand.New(rand.NewPCG(l.rng.Uint64(), 0))
		g.Go(func() {
			for !over() {
				if err := do(rng); err != nil {
					l.t.Error(err)
					return
				}
			}
		})
	}
	var made atomic.Int64
	for range 3 {
		rng := rand.New(rand.NewPCG(l.rng.Uint64(), 0))
		group.Go(func() {
			for !over() && made.Add(1) <= int64(l.changes) {
				if err := l.write(l.t, e, rng); err != nil {
					l.t.Error(err)
					return
				}
			}
		})
	}
	each(&rest, func(rng *rand.Rand) error { return l.read(l.t, e, rng) })
	each(&rest, func(rng *rand.Rand) error { return l.pass(e, rng, over) })
	each(&rest, func(rng *rand.Rand) error { return l.keepHouse(e, rng, over) })
	group.Wait()
	done.Store(true)
	rest.Wait()
}

// pass lets time pass: sessions expire and are swept, and at times a second goes by.
func (l *life) pass(e *Engine, rng *rand.Rand, over func() bool) error {
	if rng.IntN(20) == 0 {
		l.settle(l.t, e, over)
	}
	if l.phase == "sweep" && rng.IntN(10) == 0 {
		l.fuse.light(1 + rng.IntN(5))
	}
	l.await(rng.IntN(4), over)
	return l.tick(e, rng)
}

// await returns once n more changes were made.
func (l *life) await(n int, over func() bool) {
	for until := l.applied.Load() + int64(n); l.applied.Load() < until && !over(); {
		runtime.Gosched()
	}
}

// keepHouse makes Pebble do now what it would do later.
func (l *life) keepHouse(e *Engine, rng *rand.Rand, over func() bool) error {
	l.await(5+rng.IntN(40), over)
	if l.phase == "flush" {
		l.fuse.light(1 + rng.IntN(25))
	}
	if err := e.checkpoint(context.Background()); err != nil {
		return err
	}
	if rng.IntN(3) > 0 && l.phase != "compaction" {
		return nil
	}
	if l.phase == "compaction" {
		l.fuse.light(1 + rng.IntN(25))
	}
	return e.db.Compact(context.Background(), []byte{0}, []byte{0xff}, false)
}

// exhaust waits until every session of a disk has expired, sweeps, and returns what stays.
// Nothing may be left in the index.
func exhaust(t *testing.T, c *cut, w world) world {
	t.Helper()
	e := openTest(t, c.disk, Options{})
	c.now = c.now.Add(time.Hour) // later than any deadline
	sweepAll(t, e, c.now, 3)
	if n := indexEntries(t, e); n != 0 {
		t.Errorf("%d index entries are left when everything has expired", n)
	}
	stays := survey(t, e)
	maps.DeleteFunc(w, func(_ spot, x image) bool { return x.deadline != ttl.Never })
	if !maps.Equal(stays, w) {
		t.Errorf("%d records stay when everything has expired, want the %d without a deadline", len(stays), len(w))
	}
	closeTest(t, e)
	return stays
}

// Ensure that a power cut at any moment takes nothing back that the mode promised, shows
// nobody what it takes back, and leaves a state that some order of the commits explains:
// life after life on the same disk, in the middle of opening, writing, flushing,
// compacting, sweeping and closing.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	cuts := testNumber(t, "SESSIOND_POWER_CUTS", 40)
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			if s := testNumber(t, "SESSIOND_POWER_SEED", 0); s != 0 {
				seed = uint64(s)
			}
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 0))
			disk, base, sum := vfs.NewCrashableMem(), world{}, &counts{}
			now := crashBase
			for n := range cuts {
				if n%25 == 0 { // a disk of many lives is slow
					disk, base = vfs.NewCrashableMem(), world{}
				}
				share := []int{powerCut, rng.IntN(kill), kill}[min(rng.IntN(5), 2)]
				if rng.IntN(3) > 0 {
					share = powerCut
				}
				l := &life{
					ledger: newLedger(mode, base, now), t: t, rng: rng,
					phase: phases[rng.IntN(len(phases))], changes: 40 + rng.IntN(80),
				}
				l.fine = rng.IntN(2) == 0
				c := l.live(disk, share, rng.Uint64())
				base = l.judge(t, c, sum)
				if n%5 == 0 {
					base = exhaust(t, c, base)
				}
				if t.Failed() {
					t.Fatalf("cut %d of seed %d: %v", n+1, seed, sum)
				}
				disk, now = c.disk, c.now
			}
			t.Logf("%s: %v", name, sum)
		})
	}
}

// Ensure that what a power cut leaves of changes that no reply waited for is a beginning of them, over
// all records, and at least what was safe: nothing in the middle is missing, though the tree wrote
// tables of its own accord meanwhile, and merged them.
func TestPowerCut_NoHole(t *testing.T) {
	t.Parallel()
	for range testNumber(t, "SESSIOND_POWER_CUTS", 40) / 4 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		disk := vfs.NewCrashableMem()
		m, fs := newMoments(disk, rng)
		e := openCut(t, fs, Options{Durability: storage.EverySec, Clock: ttl.NewManual(1), LogBytes: minLogBytes})
		c := newChain(rng, 300, 0, 100, 600)
		safe := 0
		for range 12 {
			for range 25 {
				if _, err := c.step(e); err != nil {
					t.Fatal(err)
				}
			}
			switch rng.IntN(4) {
			case 0:
				syncTo(t, e, e.SetDurability(storage.Strict))
				syncTo(t, e, e.SetDurability(storage.EverySec))
				safe = len(c.changes)
			case 1:
				m.gather(true)
				if err := e.checkpoint(context.Background()); err != nil {
					t.Fatal(err)
				}
				for _, x := range sampled(rng, m.gather(false), 3) {
					c.holds(t, fmt.Sprint(x.when, ", seed ", seed), x.disk, Options{}, safe)
				}
				safe = len(c.changes)
			default:
				c.holds(t, fmt.Sprint("seed ", seed), afterCrash(disk, []int{powerCut, torn}[rng.IntN(2)], rng.Uint64()), Options{}, safe)
			}
		}
		closeTest(t, e)
		if t.Failed() {
			t.FailNow()
		}
	}
}
