package pebble

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// client is a connection with sessions of its own. It sends several changes at once and waits
// for all of them, as a pipeline does.
type client struct {
	t     testing.TB
	rng   *rand.Rand
	clock *ttl.Manual
	owner int   // what the names of its sessions begin with
	world world // after all changes

	mu   sync.Mutex
	sent promise
}

// promise is what a client may find after the end of the process: the world after the first
// told changes or after any more of them.
type promise struct {
	base    world
	changes []change
	told    int // of how many a reply has told
}

const (
	clients      = 4
	sessionsEach = 6
)

func newClient(t testing.TB, owner int, base world, clock *ttl.Manual, seed uint64) *client {
	return &client{
		t: t, rng: rand.New(rand.NewPCG(seed, uint64(owner))), clock: clock, owner: owner,
		world: base.of(owner), sent: promise{base: base.of(owner)},
	}
}

func (c *client) spot() spot { return spot{0, fmt.Sprintf("%d/%d", c.owner, c.rng.IntN(sessionsEach))} }

// of returns the records of a client.
func (w world) of(owner int) world {
	part := maps.Clone(w)
	maps.DeleteFunc(part, func(s spot, _ image) bool { return !strings.HasPrefix(s.name, fmt.Sprint(owner, "/")) })
	return part
}

// pipeline makes up to four changes and waits for them once.
func (c *client) pipeline(e *Engine) error {
	var owed storage.Barrier
	for range 1 + c.rng.IntN(4) {
		some := []spot{c.spot()}
		if other := c.spot(); c.rng.IntN(8) == 0 && other != some[0] {
			some = append(some, other)
		}
		scope := storage.Scope{After: owed}
		for _, s := range some {
			scope.Keys = append(scope.Keys, s.key())
		}
		b, err := e.Update(context.Background(), scope, func(tx storage.Txn) error { return c.change(tx, some) })
		if err != nil {
			return err
		}
		owed = owed.Join(b)
	}
	if err := e.Sync(context.Background(), owed); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent.told = len(c.sent.changes)
	return nil
}

// change does something to each of the spots, and holds the store to what the client knows.
func (c *client) change(tx storage.Txn, some []spot) error {
	now := c.clock.Now()
	x := change{flush: -1}
	for _, s := range some {
		rec, found, err := tx.Get(s.key())
		if err != nil {
			return err
		}
		dead := found && rec.Deadline.Due(now)
		want, alive := c.world.alive(s, now)
		if found = found && !dead; found != alive || found && (string(rec.Value) != want.value || rec.Deadline != want.deadline) {
			c.t.Errorf("%v is there: %v until %d, want %v until %d", s, found, rec.Deadline, alive, want.deadline)
		}
		if dead { // see storage.Keyspace
			if err := tx.Delete(s.key()); err != nil {
				return err
			}
		}
		e := c.plan(s, want, found, now)
		if err := e.run(tx); err != nil {
			return err
		}
		x.edits = append(x.edits, e)
	}
	x.apply(c.world)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent.changes = append(c.sent.changes, x)
	return nil
}

func (c *client) plan(s spot, was image, found bool, now ttl.Instant) edit {
	soon, late := now+1+ttl.Instant(c.rng.IntN(30)), now+100_000+ttl.Instant(c.rng.IntN(100_000))
	deadline := []ttl.Instant{late, late, late, soon, ttl.Never}[c.rng.IntN(5)]
	switch kind := c.rng.IntN(10); {
	case found && kind < 5:
		return edit{spot: s, exists: true, move: true, to: image{was.value, deadline}}
	case found && kind == 5:
		return edit{spot: s}
	default:
		size := c.rng.IntN(600)
		if c.rng.IntN(50) == 0 {
			size = 2 * maxNote
		}
		value := fmt.Sprint(len(c.sent.changes), " ", strings.Repeat("x", size)) // only the client appends to them
		return edit{spot: s, exists: true, to: image{value, deadline}}
	}
}

// run makes the edit.
func (e *edit) run(tx storage.Txn) error {
	switch {
	case !e.exists:
		return tx.Delete(e.spot.key())
	case e.move:
		return tx.SetDeadline(e.spot.key(), e.to.deadline)
	default:
		return tx.Put(e.spot.key(), storage.Record{Kind: storage.KindString, Value: []byte(e.to.value), Deadline: e.to.deadline})
	}
}

// promised returns what the client may find if the process ends while end runs.
func (c *client) promised(end func()) promise {
	told := c.promise().told
	end()
	p := c.promise()
	p.told = told
	return p
}

func (c *client) promise() promise {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent
}

// broken returns what is wrong with what a client found at now; nothing if the promise was kept.
func (p promise) broken(found world, now ttl.Instant) string {
	w := maps.Clone(p.base)
	for _, x := range p.changes[:p.told] {
		x.apply(w)
	}
	told := maps.Clone(w)
	for _, x := range p.changes[p.told:] {
		if same(w, found, now) {
			return ""
		}
		x.apply(w)
	}
	if same(w, found, now) {
		return ""
	}
	var b strings.Builder
	for s := range w {
		if found[s] != told[s] {
			fmt.Fprintf(&b, "\n%v is %.9q until %d, told %.9q until %d", s, found[s].value, found[s].deadline, told[s].value, told[s].deadline)
		}
	}
	for i, x := range p.changes[max(0, p.told-10):] {
		for _, e := range x.edits {
			fmt.Fprintf(&b, "\nchange %d: %v exists: %v, %.9q until %d", max(0, p.told-10)+i, e.spot, e.exists, e.to.value, e.to.deadline)
		}
	}
	return fmt.Sprintf("at %d, with %d of %d changes told, %d records are found that no part of them explains:%s",
		now, p.told, len(p.changes), len(found), &b)
}

// ending is what is left after the end of the process.
type ending struct {
	disk     *vfs.MemFS
	journal  *mapped
	now      ttl.Instant
	promises [clients]promise
}

// busy lets clients and the sweeper work on a store and closes it, and returns what ends of the
// process at n moments would have left, the last two of them meanwhile.
func busy(t testing.TB, rng *rand.Rand, mode storage.Durability, from *ending, n int) (ends []*ending) {
	clock := ttl.NewManual(from.now)
	e := openCut(t, from.disk, Options{Durability: mode, Clock: clock, mapFile: from.journal.open,
		CacheBytes: []int64{1, 64 << 10, 32 << 20}[rng.IntN(3)]})
	base := survey(t, e)
	var group sync.WaitGroup
	var over atomic.Bool
	work := func(do func() error) {
		group.Go(func() {
			for !over.Load() {
				if err := do(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var all [clients]*client
	for i := range all {
		c := newClient(t, i, base, clock, rng.Uint64())
		all[i] = c
		work(func() error { return c.pipeline(e) })
	}
	sweeper := rand.New(rand.NewPCG(rng.Uint64(), 0))
	work(func() error {
		clock.Advance(time.Duration(sweeper.IntN(5)) * time.Millisecond)
		_, _, err := e.Sweep(context.Background(), clock.Now(), 1+sweeper.IntN(40))
		time.Sleep(time.Duration(sweeper.IntN(300)) * time.Microsecond) // at any pace
		return err
	})
	for range n - 2 {
		time.Sleep(time.Duration(rng.IntN(2000)) * time.Microsecond) // at any moment
		ends = append(ends, endNow(e, from, all[:], rng))
	}
	over.Store(true)
	group.Wait()
	group.Go(func() {
		sweepAll(t, e, clock.Now(), 16) // as sessiond.Store does
		closeTest(t, e)
	})
	for range 2 {
		time.Sleep(time.Duration(rng.IntN(500)) * time.Microsecond)
		ends = append(ends, endNow(e, from, all[:], rng))
	}
	group.Wait()
	return ends
}

// endNow returns what would be left if the process ended now.
func endNow(e *Engine, of *ending, all []*client, rng *rand.Rand) *ending {
	end := &ending{}
	take := func() {
		e.journal.mu.Lock() // so that the disk and the journal are of the same moment
		defer e.journal.mu.Unlock()
		end.disk = of.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kill, RNG: rng})
		end.journal = &mapped{bytes.Clone(of.journal.b), of.journal.boot}
	}
	for i, c := range all {
		inner := take
		take = func() { end.promises[i] = c.promised(inner) }
	}
	take()
	end.now = e.clock.Now()
	return end
}

// Ensure that after the end of the process at any moment each client finds all changes it was
// told of, and of those it sent last as many as you like, in the order in which it sent them.
// That goes on from what the process left.
func TestJournal_AnyMoment(t *testing.T) {
	t.Parallel()
	lives := testNumber(t, "SESSIOND_KILLS", 40) / 10
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
			var end *ending
			told := 0
			for life := range lives {
				if life%20 == 0 { // a disk of many lives is slow
					end = &ending{disk: vfs.NewCrashableMem(), journal: &mapped{}, now: crashBase}
				}
				ends := busy(t, rng, mode, end, 10)
				for _, end = range ends {
					told += end.judge(t, mode)
				}
				if t.Failed() {
					t.FailNow()
				}
			}
			t.Logf("%d ends of the process, and before them %d changes that clients were told of", 10*lives, told)
		})
	}
}

// judge opens what was left, holds it to what was promised, and returns how much that was.
func (end *ending) judge(t testing.TB, mode storage.Durability) (told int) {
	// It is opened from a copy: the next life opens it again.
	disk := end.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kill, RNG: rand.New(rand.NewPCG(0, 0))})
	journal := &mapped{bytes.Clone(end.journal.b), end.journal.boot}
	e := openCut(t, disk, Options{Durability: mode, Clock: ttl.NewManual(end.now), mapFile: journal.open})
	checkStore(t, e)
	found := survey(t, e)
	closeTest(t, e)
	for i, p := range end.promises {
		if wrong := p.broken(found.of(i), end.now); wrong != "" {
			t.Errorf("client %d: %s", i, wrong)
		}
		told += p.told
	}
	return told
}
