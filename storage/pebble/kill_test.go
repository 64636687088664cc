package pebble

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
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
		if other := c.spot(); c.rng.IntN(4) == 0 && other != some[0] {
			some = append(some, other)
		}
		var scope storage.Scope
		for _, s := range some {
			scope.Keys = append(scope.Keys, s.key())
		}
		b, err := e.Update(context.Background(), scope, func(tx storage.Txn) error { return c.change(tx, some) })
		if err != nil {
			return err
		}
		owed = max(owed, b)
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
	}
	for _, e := range c.plan(some, now) {
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

// plan returns what becomes of one or two spots. Two may trade places, or one move to the other.
func (c *client) plan(some []spot, now ttl.Instant) (edits []edit) {
	if was, found := c.world.alive(some[0], now); found && len(some) == 2 && c.rng.IntN(3) > 0 {
		there, stays := c.world.alive(some[1], now)
		stays = stays && c.rng.IntN(2) == 0
		return []edit{{spot: some[0], to: there, exists: stays}, {spot: some[1], to: was, exists: true}}
	}
	for _, s := range some {
		edits = append(edits, c.planOne(s, now))
	}
	return edits
}

func (c *client) planOne(s spot, now ttl.Instant) edit {
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
			size = 20_000 // more than a segment of the log, and half a memtable
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
	during   string
	disk     *vfs.MemFS
	mark     *mapped
	now      ttl.Instant
	promises [clients]promise
	seen     ttl.Instant // what a sweep has told
	revision uint64      // the newest that was drawn
}

// endsOfWork is how many ends there are while clients work in the life of a store. There are up to two
// in its opening and two in its Close.
const endsOfWork = 6

// mortal is the life of a store, of which the disk is copied just before or after some of its file
// operations: the end of the process would leave that.
type mortal struct {
	t     testing.TB
	from  *ending
	clock *ttl.Manual
	seen  atomic.Int64 // ttl.Instant, that a sweep has told

	mu      sync.Mutex
	rng     *rand.Rand
	phase   string
	e       *Engine // nil while it opens
	clients []*client
	gap     int // operations until the next end
	wanted  int // ends in this phase
	ends    []*ending
}

// begin says what is under way now, and that n ends are wanted, of every gap operations or so.
func (m *mortal) begin(phase string, n, gap int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.phase, m.wanted, m.gap = phase, n, 1+m.rng.IntN(gap)
}

// lacks returns how many ends are still wanted.
func (m *mortal) lacks() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wanted
}

// pass is called before and after each file operation.
func (m *mortal) pass(when string, op fileOp) {
	if op.kind == opOpen || op.kind == opRead || op.kind == opMkdir {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gap--; m.gap > 0 || m.wanted == 0 {
		return
	}
	m.gap = 1 + m.rng.IntN(60)
	m.end(fmt.Sprintf("%s, %s %s %s", m.phase, when, op.kind, op.name))
}

// end notes what would be left if the process ended now.
func (m *mortal) end(during string) {
	m.wanted--
	end := &ending{
		during: during, promises: m.from.promises, revision: m.from.revision,
		seen: max(m.from.seen, ttl.Instant(m.seen.Load())),
	}
	for i, c := range m.clients {
		end.promises[i].told = c.promise().told
	}
	if m.e != nil {
		end.revision = m.e.revisions.Load()
	}
	end.mark = m.from.mark.clone() // first: the kernel has what it says
	end.disk = afterCrash(m.from.disk, kill, m.rng.Uint64())
	for i, c := range m.clients {
		told := end.promises[i].told // it may have been told more since
		end.promises[i] = c.promise()
		end.promises[i].told = told
	}
	end.now = m.clock.Now()
	m.ends = append(m.ends, end)
}

// live opens the store, lets clients and the sweeper work on it, closes it, and returns what ends
// of the process meanwhile would have left.
func live(t testing.TB, rng *rand.Rand, mode storage.Durability, from *ending) []*ending {
	m := &mortal{t: t, from: from, clock: ttl.NewManual(from.now), rng: rand.New(rand.NewPCG(rng.Uint64(), 0))}
	fs := &tapFS{
		FS:     from.disk,
		before: func(op fileOp) error { m.pass("before", op); return nil },
		after:  func(op fileOp) { m.pass("after", op) },
	}
	m.begin("opening", 2, 30)
	e := openCut(t, fs, Options{Durability: mode, Clock: m.clock, MapFile: from.mark.open,
		CacheBytes: []int64{1, 64 << 10, 32 << 20}[rng.IntN(3)]})
	base := survey(t, e)
	m.begin("work", endsOfWork, 60)
	m.work(e, base, rng)
	m.begin("close", 2, 20)
	sweepAll(t, e, m.clock.Now(), 16) // as sessiond.Store does
	closeTest(t, e)
	return m.ends
}

// work lets clients and the sweeper work until there was an end as often as wanted.
func (m *mortal) work(e *Engine, base world, rng *rand.Rand) {
	var group sync.WaitGroup
	work := func(do func() error) {
		group.Go(func() {
			for m.lacks() > 0 {
				if err := do(); err != nil {
					m.t.Error(err)
					return
				}
			}
		})
	}
	var all []*client
	for i := range clients {
		all = append(all, newClient(m.t, i, base, m.clock, rng.Uint64()))
	}
	m.mu.Lock()
	m.e, m.clients = e, all
	m.mu.Unlock()
	for _, c := range all {
		work(func() error { return c.pipeline(e) })
	}
	sweeper := rand.New(rand.NewPCG(rng.Uint64(), 0))
	work(func() error {
		m.clock.Advance(time.Duration(sweeper.IntN(5)) * time.Millisecond)
		_, _, err := e.Sweep(context.Background(), m.clock.Now(), 1+sweeper.IntN(40))
		m.seen.Store(int64(e.Seen()))
		return err
	})
	next := e.log.End()
	work(func() error { // a checkpoint now and then, when the log is not yet half full
		if e.log.End() < next {
			runtime.Gosched()
			return nil
		}
		next = e.log.End() + 20_000
		if err := e.checkpoint(context.Background()); !errors.Is(err, errUnflushed) {
			return err
		}
		return nil
	})
	group.Wait()
}

// judge opens what was left, at times after ends of further processes in the middle of opening it,
// holds it to what was promised, and returns how much that was.
func (end *ending) judge(t testing.TB, rng *rand.Rand, mode storage.Durability) (told int) {
	left := end
	for range rng.IntN(3) {
		left = left.reopen(t, rng, mode)
	}
	disk, mark := afterCrash(left.disk, kill, 0), left.mark.clone() // the next life may begin with the others
	e := openCut(t, disk, Options{Durability: mode, Clock: ttl.NewManual(end.now), MapFile: mark.open})
	checkStore(t, e)
	found := survey(t, e)
	if e.revisions.Load() < end.revision {
		t.Errorf("%s: revisions go on from %d, and %d was in use", end.during, e.revisions.Load(), end.revision)
	}
	if e.Seen() < end.seen {
		t.Errorf("%s: seen is %d, and a sweep told of %d", end.during, e.Seen(), end.seen)
	}
	closeTest(t, e)
	for i, p := range end.promises {
		if wrong := p.broken(found.of(i), end.now); wrong != "" {
			t.Errorf("%s: client %d: %s", end.during, i, wrong)
		}
		told += p.told
	}
	return told
}

// reopen returns what the end of a process leaves that was opening the store.
func (end *ending) reopen(t testing.TB, rng *rand.Rand, mode storage.Durability) *ending {
	from := *end
	from.disk, from.mark = afterCrash(end.disk, kill, 0), end.mark.clone()
	m := &mortal{t: t, from: &from, clock: ttl.NewManual(end.now), rng: rng}
	fs := &tapFS{
		FS:     from.disk,
		before: func(op fileOp) error { m.pass("before", op); return nil },
		after:  func(op fileOp) { m.pass("after", op) },
	}
	m.begin("opening again", 1, 30)
	e := openCut(t, fs, Options{Durability: mode, Clock: m.clock, MapFile: from.mark.open})
	if m.lacks() > 0 {
		m.mu.Lock()
		m.end("opened")
		m.mu.Unlock()
	}
	closeTest(t, e)
	return m.ends[0]
}

// Ensure that after the end of the process at any moment, of its opening and of the opening after
// that, too, each client finds all changes it was told of, and of those it sent last as many as you
// like, in the order in which it sent them; that sizes are exact, that no revision is used twice, and
// that the store knows how late it was. That goes on from what the process left.
func TestKill_AnyMoment(t *testing.T) {
	t.Parallel()
	kills := testNumber(t, "SESSIOND_KILLS", 40)
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed) // of what the clients send; which operation comes when is the machine's
			rng := rand.New(rand.NewPCG(seed, 0))
			var from *ending
			told, ends := 0, 0
			for life := 0; ends < kills; life++ {
				if life%20 == 0 { // a disk of many lives is slow
					from = &ending{disk: vfs.NewCrashableMem(), mark: &mapped{}, now: crashBase}
				}
				left := live(t, rng, mode, from)
				for _, end := range left {
					told += end.judge(t, rng, mode)
				}
				if t.Failed() {
					t.FailNow()
				}
				from, ends = left[rng.IntN(len(left))], ends+len(left)
			}
			t.Logf("%d ends of the process, and before them %d changes that clients were told of", ends, told)
		})
	}
}
