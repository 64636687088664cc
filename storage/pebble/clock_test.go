package pebble

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// settable is a wall clock as a machine has one: somebody may set it, and those who sleep
// sleep on.
type settable struct {
	*ttl.Manual // only passes
	shift       atomic.Int64
}

func (c *settable) Now() ttl.Instant { return c.Manual.Now() + ttl.Instant(c.shift.Load()) }

// step sets the clock by d.
func (c *settable) step(d time.Duration) { c.shift.Add(int64(d / time.Millisecond)) }

// Ensure that kill -9 does not take back what a sweep has removed, nor when that was.
func TestSweep_SurvivesKill(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1)})
	syncTo(t, e, put(t, e, "a", "1", 100))
	sweepAll(t, e, 150, 512)
	survivor := openTest(t, afterCrash(fs, kill, 1), Options{})
	if _, found := get(t, survivor, "a"); found {
		t.Error("a removed record is back")
	}
	if got := survivor.Seen(); got != 150 {
		t.Errorf("Seen = %d, want 150", got)
	}
	closeTest(t, survivor)
	closeTest(t, e)
}

// Ensure that once time goes back a power cut brings back nothing that the later time ended,
// and that the next start begins at the earlier time: what is stored then must not end.
func TestSweep_BackSurvivesPowerCut(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1)})
	syncTo(t, e, put(t, e, "ended", "1", 900))
	sweepAll(t, e, 1000, 512)
	sweepAll(t, e, 200, 512)
	for stored := range 2 {
		survivor := openTest(t, afterCrash(fs, powerCut, 1), Options{})
		if _, found := get(t, survivor, "ended"); found {
			t.Error("a removed record is back")
		}
		clock := ttl.NewForward(ttl.NewManual(210), survivor.Seen())
		if got := clock.Now(); got != 210 {
			t.Errorf("time begins at %d, want 210", got)
		}
		sweepAll(t, survivor, clock.Now(), 512)
		if _, found := get(t, survivor, "new"); found != (stored == 1) {
			t.Errorf("found = %v for a record that ends at 500, at 210", found)
		}
		closeTest(t, survivor)
		syncTo(t, e, put(t, e, "new", "1", 500))
	}
	closeTest(t, e)
}

// Ensure that a clean stop keeps when the last sweep was, though it removed nothing.
func TestClose_KeepsSeen(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	e := openTest(t, fs, Options{})
	sweepAll(t, e, 70, 512)
	closeTest(t, e)
	e = openTest(t, fs, Options{})
	if got := e.Seen(); got != 70 {
		t.Errorf("Seen = %d, want 70", got)
	}
	closeTest(t, e)
}

func afterCrash(fs *vfs.MemFS, share int, seed uint64) *vfs.MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: share, RNG: rand.New(rand.NewPCG(seed, 0))})
}

// machine is one whose clock is set back and forth, with a store in the hands of processes
// that end and start again. It remembers every session.
type machine struct {
	t    *testing.T
	rng  *rand.Rand
	wall *settable
	fs   *vfs.MemFS

	engine   *Engine
	clock    *ttl.Forward
	keyspace *storage.Keyspace
	stop     func() // ends the sweeper and waits for it

	sessions map[string]*known
	steps    int // that the sweeper noticed
}

// known is what is known of a session that was created.
type known struct {
	deadline ttl.Instant
	latest   ttl.Instant // time may have been there since the deadline was set; what is due then may be gone
	ended    bool        // a reply said so
}

func newMachine(t *testing.T) *machine {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	m := &machine{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), fs: vfs.NewCrashableMem(),
		wall: &settable{Manual: ttl.NewManual(1_700_000_000_000)}, sessions: map[string]*known{},
	}
	m.start()
	return m
}

func (m *machine) start() {
	m.engine = openTest(m.t, m.fs, Options{Clock: m.wall})
	m.clock = ttl.NewForward(m.wall, m.engine.Seen())
	m.keyspace = storage.NewKeyspace(m.engine, m.clock)
	ctx, cancel := context.WithCancel(context.Background())
	sweeper := ttl.Sweeper{
		Clock: m.clock, Sweep: m.engine.Sweep, Budget: 7,
		OnError: func(err error) { m.t.Error(err) },
		OnStep:  func(ttl.Instant, ttl.Instant) { m.steps++ },
	}
	var running sync.WaitGroup
	running.Go(func() { sweeper.Run(ctx) })
	m.stop = func() { cancel(); running.Wait() }
}

// restart ends the process, cleanly or by kill -9, and starts the next one at another time.
// A reply that showed a session as ended just before kill -9, and before the sweeper came,
// is not kept: so the sweeper comes.
func (m *machine) restart(clean bool) {
	m.t.Helper()
	m.stop()
	sweepAll(m.t, m.engine, m.clock.Now(), 7)
	next := m.fs
	if !clean {
		next = afterCrash(m.fs, kill, m.rng.Uint64())
	}
	closeTest(m.t, m.engine)
	m.fs = next
	m.set(0)
	m.start()
}

// set sets the clock by about as much as the sessions live, or lets time pass.
func (m *machine) set(passed time.Duration) {
	if passed > 0 {
		m.wall.Advance(passed)
	} else {
		m.wall.step(time.Duration(m.rng.IntN(600)-300) * time.Second)
	}
	for _, s := range m.sessions {
		s.latest = max(s.latest, m.wall.Now())
	}
}

// change creates a session or moves the deadline of one.
func (m *machine) change(name string) {
	m.t.Helper()
	k := keyOf(name)
	timeToLive := time.Duration(1+m.rng.IntN(200_000)) * time.Millisecond
	s := m.sessions[name]
	b, err := m.keyspace.Update(context.Background(), storage.Scope{Keys: []storage.Key{k}}, func(tx *storage.Tx) error {
		deadline := tx.Now().Add(timeToLive)
		if s == nil {
			m.sessions[name] = &known{deadline: deadline, latest: tx.Now()}
			return tx.Put(k, storage.Record{Kind: storage.KindString, Value: []byte(name), Deadline: deadline})
		}
		r, found, err := tx.Stat(k)
		m.judge(name, r, found, tx.Now())
		if err != nil || !found {
			return err
		}
		s.deadline, s.latest = deadline, tx.Now()
		return tx.SetDeadline(k, deadline)
	})
	if err != nil {
		m.t.Fatal(err)
	}
	syncTo(m.t, m.engine, b)
}

// look reads a session.
func (m *machine) look(name string) {
	m.t.Helper()
	k := keyOf(name)
	_, err := m.keyspace.View(context.Background(), storage.Scope{Keys: []storage.Key{k}}, func(tx *storage.Tx) error {
		r, found, err := tx.Find(k)
		if found && string(r.Value) != name {
			err = errors.Join(err, fmt.Errorf("%s has value %q", name, r.Value))
		}
		m.judge(name, r, found, tx.Now())
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

// judge compares what somebody was told at now with what was before.
func (m *machine) judge(name string, r storage.Record, found bool, now ttl.Instant) {
	m.t.Helper()
	s := m.sessions[name]
	switch {
	case found && s.ended:
		m.t.Fatalf("%s had ended and is back, until %d, at %d", name, r.Deadline, now)
	case found && r.Deadline != s.deadline:
		m.t.Fatalf("%s lives until %d, want %d", name, r.Deadline, s.deadline)
	case found && s.deadline.Due(now):
		m.t.Fatalf("%s lives at %d and ends at %d", name, now, s.deadline)
	case !found && !s.deadline.Due(max(now, s.latest)):
		m.t.Fatalf("%s is gone at %d, it ends at %d and time was never later than %d", name, now, s.deadline, s.latest)
	}
	s.ended = s.ended || !found
}

// Ensure that steps of the clock in both directions, while the store is open or not, bring
// back no session that was shown as ended, end no other, and lose no index entry: every
// record that is left has one, and goes when it is time.
func TestClock_RandomSteps(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	for i := range 2000 {
		names := slices.Sorted(maps.Keys(m.sessions))
		switch n := m.rng.IntN(100); {
		case n < 30 || len(names) == 0:
			m.change(fmt.Sprint("session ", i))
		case n < 45:
			m.change(names[m.rng.IntN(len(names))])
		case n < 85:
			m.look(names[m.rng.IntN(len(names))])
		case n < 95:
			m.set(time.Duration(1+m.rng.IntN(3000)) * time.Millisecond)
		case n < 99:
			m.set(0)
		default:
			m.restart(m.rng.IntN(2) == 0)
		}
		runtime.Gosched() // the sweeper may come, or not
	}
	m.stop()
	m.wall.Set(m.wall.Manual.Now() + 1<<32)
	sweepAll(t, m.engine, m.wall.Now(), 512)
	if n := indexEntries(t, m.engine); n != 0 {
		t.Errorf("%d index entries are left", n)
	}
	ended := 0
	for name, s := range m.sessions {
		if s.ended {
			ended++
		}
		m.look(name)
		if !s.ended {
			t.Errorf("%s is still there", name)
		}
	}
	if ended < len(m.sessions)/10 || m.steps < 10 {
		t.Errorf("of %d sessions %d were seen to end, in %d steps: the test shows little", len(m.sessions), ended, m.steps)
	}
	closeTest(t, m.engine)
}
