package pebble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/diskspace"
	"github.com/sessiond/sessiond/ttl"
)

// chain is a row of changes to one store over many records, of which any beginning leaves another
// world.
type chain struct {
	rng     *rand.Rand
	keys    int
	sizes   []int // of values, in bytes
	changes []change
	world   world
}

func newChain(rng *rand.Rand, keys int, sizes ...int) *chain {
	return &chain{rng: rng, keys: keys, sizes: sizes, world: world{}}
}

func (c *chain) spot() spot { return spot{c.rng.IntN(2), fmt.Sprint(c.rng.IntN(c.keys))} }

// plan returns the next change.
func (c *chain) plan() change {
	x := change{flush: -1}
	s, other := c.spot(), c.spot()
	was, found := c.world[s]
	deadline := crashBase + ttl.Instant(len(c.changes))
	switch n := c.rng.IntN(100); {
	case n == 0:
		x.flush = c.rng.IntN(2)
	case n == 1:
		x.swap = true
	case n < 10 && found:
		x.edits = []edit{{spot: s}}
	case n < 20 && found && s != other: // as RENAME
		x.edits = []edit{{spot: s}, {spot: other, exists: true, to: was}}
	case n < 50 && found:
		x.edits = []edit{{spot: s, exists: true, move: true, to: image{was.value, deadline}}}
	default:
		size := c.sizes[c.rng.IntN(len(c.sizes))]
		value := fmt.Sprint(len(c.changes), " ", strings.Repeat("x", size))
		x.edits = []edit{{spot: s, exists: true, to: image{value, deadline}}}
	}
	return x
}

// step makes the next change.
func (c *chain) step(e *Engine) (storage.Barrier, error) {
	x := c.plan()
	scope := storage.Scope{All: x.whole()}
	for _, edit := range x.edits {
		scope.Keys = append(scope.Keys, edit.spot.key())
	}
	b, err := e.Update(context.Background(), scope, func(tx storage.Txn) error {
		if x.flush >= 0 {
			return tx.Flush(x.flush)
		}
		if x.swap {
			return tx.Swap(0, 1)
		}
		for _, edit := range x.edits {
			if err := edit.run(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		c.changes = append(c.changes, x)
		x.apply(c.world)
	}
	return b, err
}

// steps makes n changes, and waits for each.
func (c *chain) steps(t testing.TB, e *Engine, n int) {
	t.Helper()
	for range n {
		b, err := c.step(e)
		if err != nil {
			t.Fatal(err)
		}
		syncTo(t, e, b)
	}
}

// length returns after how many changes the world was as it was found, or -1; the most if there are
// several answers.
func (c *chain) length(found world) (n int) {
	w, n := world{}, -1
	for i := 0; ; i++ {
		if maps.Equal(w, found) {
			n = i
		}
		if i == len(c.changes) {
			return n
		}
		c.changes[i].apply(w)
	}
}

// holds opens what is left on a disk and fails the test unless a beginning of the chain is there, of
// at least so many changes, and all that belongs to the records is right.
func (c *chain) holds(t testing.TB, what string, disk *vfs.MemFS, opts Options, least int) {
	t.Helper()
	defer logFailed(t, what)
	e := openTest(t, disk, opts)
	defer closeTest(t, e)
	checkStore(t, e)
	found := survey(t, e)
	if n := c.length(found); n < least {
		t.Errorf("%s: of %d changes a beginning of %d is there (none if less than zero), want at least %d; %d records",
			what, len(c.changes), n, least, len(found))
	}
}

func logFailed(t testing.TB, what string) {
	if t.Failed() {
		t.Log(what)
	}
}

// Ensure that what an everysec reply told is there after kill -9, the last word on each record, with
// a flush of the tree in between or not.
func TestLog_Kill(t *testing.T) {
	t.Parallel()
	for name, mode := range modes {
		for _, flushed := range []bool{false, true} {
			fs := vfs.NewCrashableMem()
			e := openTest(t, fs, Options{Durability: mode, Clock: ttl.NewManual(1)})
			before := put(t, e, "a", "old", ttl.Never)
			syncTo(t, e, before)
			syncTo(t, e, put(t, e, "b", "old", ttl.Never))
			if flushed {
				if err := e.checkpoint(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			syncTo(t, e, put(t, e, "a", "new", ttl.Never))
			syncTo(t, e, update(t, e, func(tx storage.Txn) error { return tx.Delete(keyOf("b")) }, keyOf("b")))
			put(t, e, "unasked", "value", ttl.Never) // nobody waits for it
			survivor := openTest(t, afterCrash(fs, kill, 1), Options{})
			found := survey(t, survivor)
			delete(found, spot{0, "unasked"})
			if want := (world{spot{0, "a"}: {"new", ttl.Never}}); !maps.Equal(found, want) {
				t.Errorf("%s, flushed: %v: found %v, want %v", name, flushed, found, want)
			}
			last, _ := get(t, e, "a")
			syncTo(t, survivor, put(t, survivor, "a", "newer", ttl.Never))
			if rec, _ := get(t, survivor, "a"); rec.Revision <= last.Revision {
				t.Errorf("%s: revision %d after %d", name, rec.Revision, last.Revision)
			}
			closeTest(t, survivor)
			closeTest(t, e)
		}
	}
}

// Ensure that changes of all kinds and sizes, beyond a segment of the log, too, are there after the
// end of the process and, where the mode says so, of the machine, however often the log went round.
func TestLog_AllKinds(t *testing.T) {
	t.Parallel()
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 0))
			fs := vfs.NewCrashableMem()
			e := openTest(t, fs, Options{Durability: mode, Clock: ttl.NewManual(1), LogBytes: minLogBytes})
			c := newChain(rng, 30, 0, 10, 1000, 1000, 30_000, 100_000)
			begin := e.log.End()
			for int64(e.log.End()-begin) < 5*minLogBytes/4 { // so it goes round
				c.steps(t, e, 25)
				c.holds(t, "kill -9", afterCrash(fs, kill, 1), Options{}, len(c.changes))
				least := len(c.changes)
				if mode != storage.Strict {
					least = 0
				}
				c.holds(t, "power cut", afterCrash(fs, powerCut, 1), Options{}, least)
			}
			closeTest(t, e)
			c.holds(t, "Close", fs, Options{}, len(c.changes))
		})
	}
}

// Ensure that where the log is full commits wait for a checkpoint, that what was acknowledged is safe
// meanwhile, and that they go on.
func TestLog_Full(t *testing.T) {
	t.Parallel()
	goOn := make(chan struct{})
	disk, log := vfs.NewCrashableMem(), &logLines{}
	var hold atomic.Bool
	fs := &tapFS{FS: disk, before: func(op fileOp) error {
		if hold.Load() && is(opCreate, "*.sst")(op) {
			<-goOn
		}
		return nil
	}}
	e := openTest(t, fs, Options{
		Durability: storage.EverySec, Clock: ttl.NewManual(1), LogBytes: minLogBytes, MemTableSize: 4 << 20,
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	defer closeTest(t, e)
	hold.Store(true)
	const changes = 3000 // of which the log holds a third
	var told atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range changes {
			syncTo(t, e, put(t, e, fmt.Sprint(i), strings.Repeat("x", 1000), ttl.Never))
			told.Add(1)
		}
	}()
	eventually(t, "changes wait", func() bool { return strings.Contains(log.String(), "changes wait until") })
	n := told.Load()
	survivor := openTest(t, afterCrash(disk, kill, 1), Options{MemTableSize: 4 << 20})
	if found := len(survey(t, survivor)); int64(found) < n || found >= changes {
		t.Errorf("%d records after kill -9, %d of %d changes were acknowledged", found, n, changes)
	}
	closeTest(t, survivor)
	hold.Store(false)
	close(goOn)
	<-done
	if found := len(survey(t, e)); found != changes {
		t.Errorf("%d records, want %d", found, changes)
	}
}

// Ensure that when no checkpoint can be made for want of room on the disk, what makes the store
// larger is refused, then later deadlines, and deletions last, when there is no log left for them;
// that none of them waits; and that all are welcome when there is room.
func TestLog_FullDisk(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	fs := newSmallFS(t, vfs.NewCrashableMem(), 1<<30)
	fs.Refuses = func(category vfs.DiskWriteCategory) bool { return full.Load() && category == diskspace.CategoryFlush }
	clock := ttl.NewManual(1)
	e := openTest(t, fs, Options{Clock: clock, LogBytes: minLogBytes, MemTableSize: 8 << 20})
	defer closeTest(t, e)
	stop := keepMoving(clock)
	full.Store(true)
	name := func(i int) string { return fmt.Sprintf("%04d%s", i, strings.Repeat("x", 800)) }
	records := 0
	for ; tryPut(t, e, name(records), "value", 10_000) == nil; records++ {
		if records > 2000 {
			t.Fatal("new records are accepted without an end")
		}
	}
	if records < 100 {
		t.Errorf("%d records are refused from on", records)
	}
	k := keyOf(name(0))
	move := func(to int) error {
		return attempt(t, e, func(tx storage.Txn) error { return tx.SetDeadline(k, ttl.Instant(to)) }, k)
	}
	if move(20_000) == nil {
		t.Error("a later deadline is accepted and no table can be written")
	}
	if err := tryDelete(t, e, name(1)); err != nil {
		t.Errorf("a deletion: %v", err)
	}
	ended := 0 // earlier deadlines, which are as welcome as deletions and come without an end
	for ; ended < 3000 && move(9999-ended) == nil; ended++ {
		continue
	}
	if ended < 50 || ended == 3000 {
		t.Errorf("%d times what ends a session was accepted", ended)
	}
	survivor := openTest(t, killed(t, fs), Options{MemTableSize: 8 << 20})
	rec, _ := get(t, survivor, name(0))
	if n := len(survey(t, survivor)); n != records-1 || rec.Deadline != ttl.Instant(10_000-ended) {
		t.Errorf("%d records after kill -9, want %d; deadline %d, want %d", n, records-1, rec.Deadline, 10_000-ended)
	}
	closeTest(t, survivor)
	full.Store(false)
	eventually(t, "deletions are accepted", func() bool { return tryDelete(t, e, name(0)) == nil })
	eventually(t, "new records are accepted", func() bool { return tryPut(t, e, "new", "value", ttl.Never) == nil })
	stop()
}

// Ensure that a start brings a log to the tree that makes many more tables than Pebble lets lie above
// each other.
func TestLog_LongRecovery(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1), LogBytes: 4 << 20, MemTableSize: 4 << 20})
	c := newChain(rand.New(rand.NewPCG(1, 2)), 500, 1000)
	c.steps(t, e, 2000)
	if e.log.Room() < e.log.Capacity()/2 {
		t.Fatal("the log is more than half full")
	}
	left := afterCrash(fs, kill, 1)
	closeTest(t, e)
	c.holds(t, "kill -9", left, Options{MemTableSize: 32 << 10}, len(c.changes))
}

// moments gathers what kill -9 and a power cut leave before and after each file operation that
// changes something, while it is on.
type moments struct {
	disk *vfs.MemFS

	mu    sync.Mutex
	on    bool
	rng   *rand.Rand
	found []left
}

type left struct {
	when  string
	share int
	disk  *vfs.MemFS
}

func newMoments(disk *vfs.MemFS, rng *rand.Rand) (*moments, vfs.FS) {
	m := &moments{disk: disk, rng: rand.New(rand.NewPCG(rng.Uint64(), 0))}
	return m, &tapFS{
		FS:     disk,
		before: func(op fileOp) error { m.look("before", op); return nil },
		after:  func(op fileOp) { m.look("after", op) },
	}
}

// gather turns it on or off, and returns what was found before.
func (m *moments) gather(on bool) (found []left) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, m.found, m.on = m.found, nil, on
	return found
}

func (m *moments) look(when string, op fileOp) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.on || op.kind == opOpen || op.kind == opRead {
		return
	}
	for _, share := range []int{kill, powerCut, torn} {
		m.found = append(m.found, left{
			fmt.Sprintf("%d %% left %s %s %s", share, when, op.kind, path.Base(op.name)), share, afterCrash(m.disk, share, m.rng.Uint64()),
		})
	}
}

// Ensure that the end of the process or of the machine at any moment of a checkpoint takes nothing
// back, before the flush, between the flush and the release of the log, and behind it.
func TestLog_EndInCheckpoint(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
	m, fs := newMoments(vfs.NewCrashableMem(), rng)
	e := openTest(t, fs, Options{Durability: storage.Strict, Clock: ttl.NewManual(1), LogBytes: minLogBytes})
	c := newChain(rng, 30, 0, 1000)
	c.steps(t, e, 100)
	begin := e.followed()
	m.gather(true)
	if err := e.checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	found := m.gather(false)
	if e.followed() == begin || len(found) < 10 {
		t.Errorf("the tree has followed to %d, from %d, in %d moments", e.followed(), begin, len(found))
	}
	for _, x := range found {
		c.holds(t, x.when, x.disk, Options{}, len(c.changes))
	}
	closeTest(t, e)
}

// Ensure that the end of the process or of the machine at any moment of a start that reads the log
// takes nothing back that was safe, and leaves no hole, twice in a row.
func TestLog_EndInRecovery(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	disk := vfs.NewCrashableMem()
	opts := Options{Durability: storage.EverySec, Clock: ttl.NewManual(1), LogBytes: minLogBytes}
	e := openTest(t, disk, opts)
	c := newChain(rng, 200, 0, 500, 1000)
	c.steps(t, e, 300)
	syncTo(t, e, e.SetDurability(storage.Strict))
	safe := len(c.changes)
	syncTo(t, e, e.SetDurability(storage.EverySec))
	c.steps(t, e, 100)
	kills := afterCrash(disk, kill, 1)
	closeTest(t, e)
	small := Options{MemTableSize: 32 << 10}
	for _, x := range sampled(rng, recoveries(t, "kill -9", kills, rng, small), 20) {
		again := recoveries(t, x.when, x.disk, rng, small)
		for _, y := range append(sampled(rng, again, 3), x) {
			least := len(c.changes)
			if x.share != kill || y.share != kill {
				least = safe
			}
			c.holds(t, x.when+", then "+y.when, afterCrash(y.disk, kill, 1), small, least)
		}
	}
}

// recoveries returns what is left at any moment of an Open of a copy of disk, which is what was left
// by what.
func recoveries(t *testing.T, what string, disk *vfs.MemFS, rng *rand.Rand, opts Options) []left {
	t.Helper()
	defer logFailed(t, what)
	m, fs := newMoments(afterCrash(disk, kill, 1), rng)
	m.gather(true)
	e := openTest(t, fs, opts)
	found := m.gather(false)
	if len(found) < 10 {
		t.Errorf("%d moments while the store was opened", len(found))
	}
	closeTest(t, e)
	return found
}

// sampled returns n of some.
func sampled(rng *rand.Rand, some []left, n int) (chosen []left) {
	for _, i := range rng.Perm(len(some))[:min(n, len(some))] {
		chosen = append(chosen, some[i])
	}
	return chosen
}

// Ensure that a checkpoint takes a commit whole or not at all: it waits for those that are in the log
// and not in memory yet, or not in the sizes.
func TestLog_CommitIsWhole(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{Clock: ttl.NewManual(1)})
	defer closeTest(t, e)
	begin := e.log.End()
	var group sync.WaitGroup
	e.counters.mu.Lock()
	group.Go(func() { put(t, e, "name", "value", ttl.Never) })
	eventually(t, "the change is in the log", func() bool { return e.log.End() > begin })
	if e.commits.TryLock() {
		e.commits.Unlock()
		t.Error("a commit that the sizes do not know of yet holds up no checkpoint")
	}
	e.counters.mu.Unlock()
	group.Wait()

	e.commits.RLock() // as a commit
	group.Go(func() {
		if err := e.checkpoint(t.Context()); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "a checkpoint waits for a commit", func() bool {
		free := e.commits.TryRLock()
		if free {
			e.commits.RUnlock()
		}
		return !free
	})
	e.commits.RUnlock()
	group.Wait()
}

// Ensure that whoever walks or counts sees nothing of a change that fits no segment before the tree has
// it on stable storage, which is where alone it is.
func TestLog_LargeIsShownWhenSafe(t *testing.T) {
	t.Parallel()
	flushing, goOn := make(chan struct{}), make(chan struct{})
	var hold atomic.Bool
	disk := vfs.NewCrashableMem()
	fs := &tapFS{FS: disk, before: func(op fileOp) error {
		if is(opCreate, "*.sst")(op) && hold.CompareAndSwap(true, false) {
			close(flushing)
			<-goOn
		}
		return nil
	}}
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1), LogBytes: minLogBytes})
	defer closeTest(t, e)
	var group sync.WaitGroup
	hold.Store(true)
	group.Go(func() { put(t, e, "large", strings.Repeat("x", 100_000), ttl.Never) })
	<-flushing
	if e.databases.mu.TryRLock() {
		e.databases.mu.RUnlock()
		t.Error("a reader may look while the change is nowhere but in memory")
	}
	close(goOn)
	found := survey(t, e) // whatever this sees
	survivor := openTest(t, afterCrash(disk, powerCut, 1), Options{})
	if !maps.Equal(survey(t, survivor), found) {
		t.Error("a power cut takes back what a reader was shown")
	}
	closeTest(t, survivor)
	group.Wait()
}

var errNeverMind = errors.New("never mind")

// Ensure that a change that was refused by its own function leaves nothing in the log.
func TestLog_NothingOfARefusal(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{Clock: ttl.NewManual(1)})
	defer closeTest(t, e)
	syncTo(t, e, put(t, e, "a", "value", ttl.Never))
	end := e.log.End()
	k := keyOf("a")
	_, err := e.Update(t.Context(), storage.Scope{Keys: []storage.Key{k}}, func(tx storage.Txn) error {
		return errors.Join(tx.Delete(k), errNeverMind)
	})
	if !errors.Is(err, errNeverMind) || e.log.End() != end {
		t.Errorf("%v, and the log goes from %d to %d", err, end, e.log.End())
	}
}
