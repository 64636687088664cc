package pebble

import (
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
		remains, err := c.world.hold(c.t, tx, s, now)
		if err != nil {
			return err
		}
		if remains { // see storage.Keyspace
			if err := tx.Delete(s.key()); err != nil {
				return err
			}
		}
		e := c.plan(s, now)
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

func (c *client) plan(s spot, now ttl.Instant) edit {
	was, found := c.world.alive(s, now)
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
	for n := p.told; !same(w, found, now); n++ {
		if n == len(p.changes) {
			return p.fault(told, found, now)
		}
		p.changes[n].apply(w)
	}
	return ""
}

// fault tells how what was found differs from the world a client was told of, and what led there.
func (p promise) fault(told, found world, now ttl.Instant) string {
	var b strings.Builder
	either := maps.Clone(told)
	maps.Copy(either, found)
	for s := range either {
		if found[s] != told[s] {
			fmt.Fprintf(&b, "\n%v is %.9q until %d, told %.9q until %d", s, found[s].value, found[s].deadline, told[s].value, told[s].deadline)
		}
	}
	first := max(0, p.told-10)
	for i, x := range p.changes[first:] {
		for _, e := range x.edits {
			fmt.Fprintf(&b, "\nchange %d: %v exists: %v, %.9q until %d", first+i, e.spot, e.exists, e.to.value, e.to.deadline)
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

// endsOfLife is how many ends there are in the life of a store, the last two of them in Close.
const endsOfLife = 10

// busy lets clients and the sweeper work on a store and closes it, and returns what ends of the
// process meanwhile would have left.
func busy(t testing.TB, rng *rand.Rand, mode storage.Durability, from *ending) (ends []*ending) {
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
	for range endsOfLife - 2 {
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
	for i, c := range all {
		end.promises[i].told = c.promise().told
	}
	func() {
		e.journal.mu.Lock() // so that the disk and the journal are of the same moment
		defer e.journal.mu.Unlock()
		end.disk, end.journal = afterCrash(of.disk, kill, rng.Uint64()), of.journal.clone()
	}()
	for i, c := range all {
		told := end.promises[i].told // it may have been told more since
		end.promises[i] = c.promise()
		end.promises[i].told = told
	}
	end.now = e.clock.Now()
	return end
}

// Ensure that after the end of the process at any moment each client finds all changes it was
// told of, and of those it sent last as many as you like, in the order in which it sent them.
// That goes on from what the process left.
func TestJournal_AnyMoment(t *testing.T) {
	t.Parallel()
	lives := (testNumber(t, "SESSIOND_KILLS", 40) + endsOfLife - 1) / endsOfLife
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed) // of what the clients send; the moments are the machine's
			rng := rand.New(rand.NewPCG(seed, 0))
			var end *ending
			told := 0
			for life := range lives {
				if life%20 == 0 { // a disk of many lives is slow
					end = &ending{disk: vfs.NewCrashableMem(), journal: &mapped{}, now: crashBase}
				}
				ends := busy(t, rng, mode, end)
				for _, end = range ends {
					told += end.judge(t, mode)
				}
				if t.Failed() {
					t.FailNow()
				}
			}
			t.Logf("%d ends of the process, and before them %d changes that clients were told of", endsOfLife*lives, told)
		})
	}
}

// judge opens what was left, holds it to what was promised, and returns how much that was.
func (end *ending) judge(t testing.TB, mode storage.Durability) (told int) {
	disk, journal := afterCrash(end.disk, kill, 0), end.journal.clone() // the next life begins with the others
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
