package pebble

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/ttl"
)

// stepper takes a store through its life step by step. Before each change of a file, and at the end
// of each step, it copies the disk as kill -9 would leave it and as a power cut would, opens the
// copies and holds them to what was acknowledged at that moment.
type stepper struct {
	t     testing.TB
	mode  storage.Durability
	clock *ttl.Manual
	disk  *matrixDisk
	e     *Engine
	every int // one of so many moments is looked at

	acknowledged, lasting, settled atomic.Int64 // changes
	due                            storage.Barrier
	over                           atomic.Bool // nobody looks any more

	mu      sync.Mutex // held while copies are looked at
	worlds  []world    // after each change that was tried
	changes []change
	step    string
	mark    *mapped // at the beginning of the step
	moments map[string]int
	seen    int
	seed    uint64
}

func newStepper(t testing.TB, mode storage.Durability, seed uint64) *stepper {
	return &stepper{
		t: t, mode: mode, clock: ttl.NewManual(crashBase), every: testNumber(t, "SESSIOND_STEPS", 2),
		worlds: []world{{}}, changes: []change{{}}, moments: map[string]int{}, seed: seed,
	}
}

// changing are the operations that change a disk.
var changing = []opKind{opCreate, opReuse, opRename, opRemove, opLink, opWrite, opSync, opSyncDir}

// open opens the store on the disk, with a look before each change of a file.
func (s *stepper) open() (err error) {
	s.disk.before = func(op fileOp) error {
		if slices.Contains(changing, op.kind) && !strings.HasPrefix(op.name, layout.BallastPrefix) {
			s.moment("before " + string(op.kind) + " of " + op.name)
		}
		return nil
	}
	s.e, err = s.disk.open(s.mode, matrixBoot, s.clock)
	return err
}

// again returns the disk for the next process: another one may have the lock and do nothing.
func (d *matrixDisk) again(t testing.TB) *matrixDisk {
	t.Helper()
	next := &matrixDisk{mem: d.mem, shared: true}
	next.FS = d.mem
	if err := next.place(d.marked()); err != nil {
		t.Fatal(err)
	}
	return next
}

// begin begins a step.
func (s *stepper) begin(step string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step, s.mark = step, s.disk.marked()
}

// end looks once more, at the end of the step.
func (s *stepper) end() {
	s.mu.Lock()
	s.seen += s.every - s.seen%s.every - 1 // this one is always looked at
	s.mu.Unlock()
	s.moment("after")
}

// run takes one step.
func (s *stepper) run(step string, do func() error) {
	s.begin(step)
	if err := do(); err != nil {
		s.t.Fatalf("%s: %v", step, err)
	}
	s.end()
}

// try makes a change and acknowledges nothing yet.
func (s *stepper) try(c change) error {
	s.mu.Lock()
	w := maps.Clone(s.worlds[len(s.worlds)-1])
	c.apply(w)
	s.worlds, s.changes = append(s.worlds, w), append(s.changes, c)
	s.mu.Unlock()
	b, err := c.update(s.e)
	s.due = max(s.due, b)
	return err
}

// acknowledge waits for all that was tried and acknowledges it.
func (s *stepper) acknowledge() error {
	if err := s.e.Sync(context.Background(), s.due); err != nil {
		return err
	}
	n := len(s.worlds) - 1
	s.acknowledged.Store(int64(n))
	for ; n > 0; n-- {
		if s.changes[n].lasting {
			raiseTo(&s.lasting, int64(n))
			break
		}
	}
	return nil
}

func raiseTo(to *atomic.Int64, n int64) { to.Store(max(to.Load(), n)) }

// settle brings everything to stable storage.
func (s *stepper) settle() error {
	if err := s.e.await(context.Background(), s.e.logEnd()); err != nil {
		return err
	}
	raiseTo(&s.settled, int64(len(s.worlds)-1))
	return s.e.log.Note()
}

func (s *stepper) do(c change) error {
	if err := s.try(c); err != nil {
		return err
	}
	return s.acknowledge()
}

// put stores values of a size at n spots. Every third comes due within the hour.
func (s *stepper) put(first, n, size int) error {
	for i := first; i < first+n; i++ {
		if err := s.try(s.putting(i, size)); err != nil {
			return err
		}
	}
	return s.acknowledge()
}

func (s *stepper) putting(i, size int) change {
	n := len(s.worlds)
	deadline := s.clock.Now() + ttl.Instant(100*time.Hour.Milliseconds())
	if i%3 == 0 {
		deadline = s.clock.Now() + ttl.Instant(time.Minute.Milliseconds()) + ttl.Instant(n)
	}
	value := fmt.Sprint(n, " ", strings.Repeat(string(rune('a'+n%26)), size))
	return change{flush: -1, lasting: true, edits: []edit{{spot: matrixSpot(i), exists: true, to: image{value, deadline}}}}
}

// touching extends the deadline of a record that is there.
func (s *stepper) touching(i int) change {
	x := s.worlds[len(s.worlds)-1][matrixSpot(i)]
	x.deadline += 1000
	return change{flush: -1, edits: []edit{{spot: matrixSpot(i), exists: true, move: true, to: x}}}
}

// touch extends the first n records one by one.
func (s *stepper) touch(n int) error {
	for i := range n {
		if err := s.do(s.touching(i)); err != nil {
			return err
		}
	}
	return nil
}

func removing(i int) change {
	return change{flush: -1, lasting: true, edits: []edit{{spot: matrixSpot(i)}}}
}

// moment looks at what the end of the process and of the machine would leave now. It may be called
// by any goroutine, with any lock of the store held.
func (s *stepper) moment(when string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen++
	if s.seen%s.every != 0 || s.over.Load() || s.t.Failed() {
		return
	}
	s.moments[s.step]++
	now := s.disk.marked() // first: it is never ahead of the log
	acknowledged, lasting, settled := s.acknowledged.Load(), s.lasting.Load(), s.settled.Load()
	for i, share := range []int{kill, torn, powerCut} {
		floor, mark, boot := settled, now, uint64(matrixBoot+1)
		switch {
		case share == kill:
			floor, boot = acknowledged, matrixBoot
		case s.mode == storage.Strict:
			floor = max(settled, acknowledged)
		case s.mode == storage.Session:
			floor = max(settled, lasting)
		}
		if share == powerCut {
			mark = s.mark // nobody syncs it
		}
		later := time.Duration(0)
		if (s.seen/s.every+i)%2 == 0 {
			later = 2 * time.Hour // deadlines pass while the store is down
		}
		s.seed++
		disk := &matrixDisk{mem: s.disk.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: share, RNG: rand.New(rand.NewPCG(s.seed, 0))})}
		disk.FS = disk.mem
		if err := disk.place(mark); err != nil {
			s.t.Error(err)
		}
		if err := s.judge(disk, boot, int(floor), s.clock.Now().Add(later)); err != nil {
			s.t.Errorf("%s, %s, %d %% of what was not synced is there, %v later: %v (seed %d)", s.step, when, share, later, err, s.seed)
		}
	}
}

// place writes a mark.
func (d *matrixDisk) place(mark *mapped) error {
	name := d.mem.PathJoin(testDir, "log.mark")
	if _, err := d.mem.Stat(name); err != nil || len(mark.b) == 0 {
		return nil // it is not there yet
	}
	return writeMatrixFile(d.mem, name, mark.b)
}

// judge opens a copy and compares it with each state from floor on.
func (s *stepper) judge(disk *matrixDisk, boot uint64, floor int, now ttl.Instant) error {
	e, err := disk.open(s.mode, boot, ttl.NewManual(now))
	if err != nil {
		return err
	}
	defer func() {
		if err := e.Close(); err != nil {
			s.t.Errorf("Close: %v", err)
		}
	}()
	found, err := matrixSurvey(e)
	if err != nil {
		return err
	}
	checkStore(s.t, e)
	at := len(s.worlds) - 1
	for at >= 0 && !same(s.worlds[at], found, now) {
		at--
	}
	if at < floor {
		return fmt.Errorf("%d records, after %d of %d changes (-1: none), want at least %d", len(found), at, len(s.worlds)-1, floor)
	}
	for next := now; next.Due(now); {
		if _, next, err = e.Sweep(context.Background(), now, 64); err != nil {
			return err
		}
	}
	left, err := matrixSurvey(e)
	if err != nil {
		return err
	}
	maps.DeleteFunc(found, func(_ spot, x image) bool { return x.deadline.Due(now) })
	if !maps.Equal(left, found) {
		return fmt.Errorf("%d records are there after a sweep, want %d", len(left), len(found))
	}
	checkStore(s.t, e)
	return nil
}

// commits takes commits through their steps one by one.
func (s *stepper) commits() {
	for _, c := range []struct {
		name string
		plan func() change
	}{
		{"put", func() change { return s.putting(0, 2000) }},
		{"touch", func() change { return s.touching(4) }},
		{"delete", func() change { return removing(2) }},
		{"flush", func() change { return change{flush: 1, lasting: true} }},
		{"swap", func() change { return change{flush: -1, swap: true, lasting: true} }},
	} {
		s.run("append "+c.name, func() error { return s.try(c.plan()) })
		s.run("write "+c.name, func() error { return s.e.log.Write() })
		s.run("sync "+c.name, s.acknowledge)
	}
	s.run("settle", s.settle)
	s.run("large", func() error { return s.do(s.putting(30, matrixSegment+1000)) })
}

// checkpoint takes a checkpoint through its steps one by one.
func (s *stepper) checkpoint() {
	s.run("before", func() error { return s.put(2, 3, 500) })
	s.run("checkpoint: freeze", func() error {
		s.e.freeze()
		return nil
	})
	s.run("more", func() error { return s.put(3, 3, 500) })
	s.run("checkpoint: write", func() error {
		w := s.e.treeWriter(context.Background(), false)
		return w.Finish(w.Write(s.e.memory.Load().Frozen()))
	})
	s.run("checkpoint: flush", func() error { return s.e.flushTree(context.Background(), true) })
	raiseTo(&s.settled, s.acknowledged.Load()) // a table begins when the log is synced
	s.run("checkpoint: the rest", func() error { return s.e.follow(context.Background(), true) })
	s.run("checkpoint", func() error { return s.e.checkpoint(context.Background()) })
}

// sweep lets sessions end and removes them.
func (s *stepper) sweep() {
	s.begin("sweep")
	s.clock.Advance(10 * time.Minute)
	for next := s.clock.Now(); next.Due(s.clock.Now()); {
		var err error
		if _, next, err = s.e.Sweep(context.Background(), s.clock.Now(), 5); err != nil {
			s.t.Fatal(err)
		}
		s.end()
	}
	s.run("sweep: sync", s.settle)
}

// recycle fills segments until one that was used before is in use again.
func (s *stepper) recycle() {
	for range 3 {
		s.run("recycle", func() error { return s.put(10, 16, 4500) })
		s.run("recycle: checkpoint", func() error { return s.e.checkpoint(context.Background()) })
	}
	if n, most := s.e.log.Size(), int64(6*matrixSegment); n > most {
		s.t.Errorf("the log has grown to %d bytes: no segment was used again", n)
	}
}

// Ensure that the end of the process or of the machine before any change of a file leaves what was
// acknowledged at that moment, in each step of a store's life: commits, checkpoints, segments that
// are used again, sweeps, a clean stop, a recovery; and that sessions which ended while the store was
// down are gone. SESSIOND_STEPS is the share of the moments that is looked at, one of so many.
func TestSteps(t *testing.T) {
	t.Parallel()
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64() >> 32
			t.Logf("seed %d", seed)
			s := newStepper(t, mode, seed)
			s.disk = newMatrixDisk(t, nil, nil)
			s.run("create", s.open)
			s.run("first", func() error { return s.put(0, 12, 1500) })
			s.commits()
			s.checkpoint()
			s.recycle()
			s.sweep()
			s.run("last", func() error { return s.put(0, 6, 1000) })
			s.run("last touches", func() error { return s.touch(6) })
			// Nobody stops the store, which does nothing any more: that is what kill -9 leaves, and
			// what was not synced is in the kernel only, as before.
			killed := s.e
			s.disk = s.disk.again(t)
			s.run("recovery", s.open)
			s.settled.Store(int64(len(s.worlds) - 1))
			s.run("after recovery", func() error { return s.put(3, 6, 1000) })
			s.checkpoint()
			s.run("touches", func() error { return s.touch(6) })
			s.run("close", func() error { return s.e.Close() })
			s.settled.Store(int64(len(s.worlds) - 1))
			s.disk = s.disk.again(t)
			s.run("start", s.open)
			s.run("after start", func() error { return s.put(3, 3, 1000) })
			s.over.Store(true)
			if err := errors.Join(s.e.Close(), killed.Close()); err != nil {
				t.Error(err)
			}
			for _, step := range slices.Sorted(maps.Keys(s.moments)) {
				t.Logf("%-22s %d moments", step, s.moments[step])
			}
		})
	}
}
