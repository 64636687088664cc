package pebble

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// spots is how many names are in use, in each of two databases.
const spots = 12

// spot is where a record can be.
type spot struct {
	db   int
	name string
}

func (s spot) key() storage.Key { return storage.Key{DB: s.db, Name: []byte(s.name)} }

// state is a record as the tests see it.
type image struct {
	value    string
	deadline ttl.Instant
}

// world is every record there is. Those whose deadline has passed stay in it.
type world map[spot]image

// alive returns the record of a spot if its deadline has not passed.
func (w world) alive(s spot, now ttl.Instant) (image, bool) {
	x, found := w[s]
	return x, found && !x.deadline.Due(now)
}

// edit is what a change does to one spot.
type edit struct {
	spot   spot
	to     image
	exists bool
	move   bool // to.deadline is all that changes
}

// change is one Update.
type change struct {
	edits   []edit
	flush   int // a database, or -1
	swap    bool
	lasting bool // not a pure extension
}

func (c *change) whole() bool { return c.swap || c.flush >= 0 }

func (c *change) apply(w world) {
	if c.flush >= 0 {
		maps.DeleteFunc(w, func(s spot, _ image) bool { return s.db == c.flush })
	}
	if c.swap {
		moved := world{}
		for s, x := range w {
			moved[spot{1 - s.db, s.name}] = x
		}
		clear(w)
		maps.Copy(w, moved)
	}
	for _, e := range c.edits {
		if e.exists {
			w[e.spot] = e.to
		} else {
			delete(w, e.spot)
		}
	}
}

// shown is what a reader was shown of one spot, after its barrier was synced.
type shown struct {
	spot     spot
	found    bool
	state    image
	sizeOnly bool        // it was not told the value, only how long it is
	size     int         // of the value
	from, to int         // changes that were made when it began, and when it ended
	until    ttl.Instant // the time when it ended
}

func (s *shown) matches(w world) bool {
	x, exists := w[s.spot]
	if !s.found {
		return !exists || x.deadline.Due(s.until) // the sweeper may have been there
	}
	if !exists || x.deadline != s.state.deadline {
		return false
	}
	if s.sizeOnly {
		return len(x.value) == s.size
	}
	return x.value == s.state.value
}

// tally is what was promised at one moment, as numbers of changes: all up to there.
type tally struct {
	acknowledged int // Sync has returned, whatever that means in the mode
	lasting      int // the same, and the change was no pure extension
	settled      int // acknowledged before the last sync in the background began
	shown        int // how much of ledger.seen
}

// ledger is what is done to one store in one life, in the order of the commits, and what
// was acknowledged and shown of it. The lock order makes that order known: it is held
// while a change is decided and applied, and not while it is made durable.
type ledger struct {
	mode  storage.Durability
	clock *ttl.Manual
	base  world // as the store was opened
	fine  bool  // deadlines and time move by milliseconds, else by seconds

	order sync.Mutex
	log   []change
	world world // base and all of log

	// attempts is log for who judges a store whose script was stopped anywhere.
	attempts atomic.Pointer[[]change]

	attempted, applied atomic.Int64 // changes

	mu   sync.Mutex // no call of the engine is made while it is held
	now  tally
	seen []shown
}

func newLedger(mode storage.Durability, base world, now ttl.Instant) *ledger {
	return &ledger{mode: mode, clock: ttl.NewManual(now), base: base, world: maps.Clone(base)}
}

func (l *ledger) scale(fine, coarse int) int {
	if l.fine {
		return fine
	}
	return coarse
}

func (l *ledger) spot(rng *rand.Rand) spot {
	db := 0
	if rng.IntN(4) == 0 {
		db = 1
	}
	return spot{db, fmt.Sprint("session", rng.IntN(spots))}
}

// value returns a value that no other change stores.
func (l *ledger) value(rng *rand.Rand, n int) string {
	size := rng.IntN(1500)
	if rng.IntN(30) == 0 {
		size = 20_000 // more than half a memtable: Pebble handles it in another way
	}
	return fmt.Sprintf("%d/%d %s", n, rng.Uint32(), strings.Repeat(string(rune('a'+n%26)), size))
}

// plan decides on the next change. The order is held.
func (l *ledger) plan(rng *rand.Rand) change {
	c := change{flush: -1, lasting: true}
	switch rng.IntN(60) {
	case 0:
		c.flush = rng.IntN(2)
		return c
	case 1:
		c.swap = true
		return c
	}
	now, n := l.clock.Now(), len(l.log)
	some := []spot{l.spot(rng)}
	if rng.IntN(3) == 0 {
		if other := l.spot(rng); other != some[0] {
			some = append(some, other)
		}
	}
	kind := rng.IntN(8) // both spots suffer the same: a pair of extensions is lax, too
	extensions := 0
	for i, s := range some {
		deadline := now + 1 + ttl.Instant(rng.IntN(l.scale(30, 200_000)))
		old, alive := l.world.alive(s, now)
		e := edit{spot: s, exists: true}
		switch {
		case alive && kind < 4:
			e.move, e.to = true, image{old.value, deadline}
			if deadline.Extends(old.deadline) {
				extensions++
			}
		case alive && kind == 4:
			e.exists = false
		case alive && kind == 5 && old.deadline != ttl.Never:
			e.move, e.to = true, image{old.value, ttl.Never}
			if ttl.Never.Extends(old.deadline) {
				extensions++
			}
		case kind == 6:
			e.to = image{l.value(rng, 2*n+i), ttl.Never}
		default:
			e.to = image{l.value(rng, 2*n+i), deadline}
		}
		c.edits = append(c.edits, e)
	}
	c.lasting = extensions < len(c.edits)
	return c
}

// write makes one change, waits for it and notes the acknowledgement.
func (l *ledger) write(t testing.TB, e *Engine, rng *rand.Rand) error {
	b, n, err := l.change(t, e, rng)
	if err != nil {
		return err
	}
	if err := e.Sync(context.Background(), b); err != nil {
		return err
	}
	l.acknowledge(n)
	return nil
}

// change makes one change and returns its number.
func (l *ledger) change(t testing.TB, e *Engine, rng *rand.Rand) (storage.Barrier, int, error) {
	l.order.Lock()
	defer l.order.Unlock()
	c := l.plan(rng)
	now := l.clock.Now()
	scope := storage.Scope{All: c.whole()}
	for _, x := range c.edits {
		scope.Keys = append(scope.Keys, x.spot.key())
	}
	l.log = append(l.log, c)
	attempts := l.log
	l.attempts.Store(&attempts)
	l.attempted.Add(1)
	b, err := e.Update(context.Background(), scope, func(tx storage.Txn) error { return l.run(t, tx, &c, now) })
	if errors.Is(err, storage.ErrFailed) { // the script is over, and this was attempted
		return b, 0, err
	}
	if err != nil { // it has changed nothing
		l.log = l.log[:len(l.log)-1]
		l.attempted.Add(-1)
		return b, 0, err
	}
	c.apply(l.world)
	l.applied.Add(1)
	return b, len(l.log), nil
}

// run is the Update of a change. It also holds the store to the world.
func (l *ledger) run(t testing.TB, tx storage.Txn, c *change, now ttl.Instant) error {
	if c.flush >= 0 {
		return tx.Flush(c.flush)
	}
	if c.swap {
		return tx.Swap(0, 1)
	}
	for _, x := range c.edits {
		if _, err := l.world.hold(t, tx, x.spot, now); err != nil {
			return err
		}
		if err := x.run(tx); err != nil {
			return err
		}
	}
	return nil
}

// hold holds a store to the world at one spot, and reports whether the remains of a dead record
// are there.
func (w world) hold(t testing.TB, r storage.Reader, s spot, now ttl.Instant) (remains bool, err error) {
	rec, found, err := r.Get(s.key())
	if err != nil {
		return false, err
	}
	remains = found && rec.Deadline.Due(now)
	want, alive := w.alive(s, now)
	if found = found && !remains; found != alive ||
		(found && (string(rec.Value) != want.value || rec.Deadline != want.deadline)) {
		t.Errorf("%v is there: %v until %d, want %v until %d", s, found, rec.Deadline, alive, want.deadline)
	}
	return remains, nil
}

// run makes the edit.
func (x edit) run(tx storage.Txn) error {
	switch k := x.spot.key(); {
	case !x.exists:
		return tx.Delete(k)
	case x.move:
		return tx.SetDeadline(k, x.to.deadline)
	default:
		return tx.Put(k, storage.Record{Kind: storage.KindString, Value: []byte(x.to.value), Deadline: x.to.deadline})
	}
}

func (l *ledger) acknowledge(n int) {
	l.order.Lock()
	lasting := l.log[n-1].lasting
	l.order.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now.acknowledged = max(l.now.acknowledged, n)
	if lasting {
		l.now.lasting = max(l.now.lasting, n)
	}
}

// read reads one or two records, or all of a database, and notes what it was shown once it
// may be shown.
func (l *ledger) read(t testing.TB, e *Engine, rng *rand.Rand) error {
	from := int(l.applied.Load())
	var saw []shown
	var scope storage.Scope
	first := l.spot(rng)
	all := rng.IntN(6) == 0
	if !all {
		scope.Keys = []storage.Key{first.key()}
	}
	b, err := e.View(context.Background(), scope, func(r storage.Reader) (err error) {
		saw, err = look(r, first, all)
		return err
	})
	if err != nil {
		return err
	}
	to, until := int(l.attempted.Load()), l.clock.Now()
	if err := e.Sync(context.Background(), b); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range saw {
		s.from, s.to, s.until = from, to, until
		l.seen = append(l.seen, s)
	}
	l.now.shown = len(l.seen)
	return nil
}

func look(r storage.Reader, first spot, all bool) (saw []shown, err error) {
	if !all {
		rec, found, err := r.Get(first.key())
		x := image{string(rec.Value), rec.Deadline}
		return []shown{{spot: first, found: found, state: x}}, err
	}
	_, err = r.Scan(first.db, 0, 1000, func(k storage.Key, rec storage.Record) bool {
		saw = append(saw, shown{
			spot: spot{k.DB, string(k.Name)}, found: true,
			state: image{deadline: rec.Deadline}, sizeOnly: true, size: rec.Size,
		})
		return true
	})
	return saw, err
}

// tick moves the time and sweeps a little.
func (l *ledger) tick(e *Engine, rng *rand.Rand) error {
	l.order.Lock() // nobody decides on a change while the time moves
	l.clock.Advance(time.Duration(rng.IntN(l.scale(6, 8000))) * time.Millisecond)
	now := l.clock.Now()
	l.order.Unlock()
	_, _, err := e.Sweep(context.Background(), now, 1+rng.IntN(40))
	return err
}

// drain sweeps all that is due, in bites, and holds the store to having nothing dead left.
func (l *ledger) drain(t testing.TB, e *Engine, rng *rand.Rand) {
	t.Helper()
	now, budget := l.clock.Now(), 1+rng.IntN(3)
	for bites := 0; ; bites++ {
		n, next, err := e.Sweep(context.Background(), now, budget)
		if err != nil {
			t.Fatalf("Sweep: %v", err)
		}
		if n < budget && !next.Due(now) {
			break
		}
		if bites > 1000 {
			t.Fatalf("a sweep at %d comes to no end: the next entry is due at %d", now, next)
		}
	}
	found := survey(t, e)
	for s, x := range found {
		if x.deadline.Due(now) {
			t.Errorf("%v, due at %d, is there after a sweep at %d", s, x.deadline, now)
		}
	}
	for s, x := range l.world {
		if _, kept := found[s]; !kept && !x.deadline.Due(now) {
			t.Errorf("%v, due at %d, is gone after a sweep at %d", s, x.deadline, now)
		}
	}
	checkStore(t, e)
}

// settle lets a second pass and holds the store to bringing all that was acknowledged
// before to stable storage by itself. It gives up when over says so.
func (l *ledger) settle(t testing.TB, e *Engine, over func() bool) {
	l.mu.Lock()
	acknowledged := l.now.acknowledged
	l.mu.Unlock()
	end := e.log.End()
	for begin := time.Now(); e.log.Synced() < end; time.Sleep(50 * time.Microsecond) { // polling the goroutine
		if over() {
			return
		}
		if time.Since(begin) > 20*time.Second {
			t.Error("nothing is brought to disk in the background")
			return
		}
		l.order.Lock()
		l.clock.Advance(laxInterval) // the goroutine may not have gone to sleep before
		l.order.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now.settled = max(l.now.settled, acknowledged)
}

func (l *ledger) tally() tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// cut is a disk after an end, with what was promised just before it.
type cut struct {
	during    string
	disk      *vfs.MemFS
	share     int // of the unsynced data that survived, in percent
	promised  tally
	attempted int
	now       ttl.Instant
}

// cut takes the disk away. It may be called in the middle of a file operation.
func (l *ledger) cut(fs *vfs.MemFS, during string, share int, seed uint64) *cut {
	c := &cut{during: during, share: share, promised: l.tally()}
	c.disk = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: share, RNG: rand.New(rand.NewPCG(seed, uint64(share)))})
	c.attempted, c.now = int(l.attempted.Load()), l.clock.Now()
	return c
}

// floor is how many changes must have survived.
func (l *ledger) floor(c *cut) int {
	p := c.promised
	switch {
	case c.share == kill || l.mode == storage.Strict:
		return max(p.acknowledged, p.settled)
	case l.mode == storage.Session:
		return max(p.lasting, p.settled)
	}
	return p.settled
}

// counts sums up what many cuts did.
type counts struct {
	cuts, acknowledged, checked, lost, resurrected, moved, taken, unexplained, shown atomic.Int64
}

func (v *counts) String() string {
	return fmt.Sprintf("%d cuts, %d changes acknowledged, %d records and %d things shown to readers checked: "+
		"%d lost, %d resurrected, %d deadlines moved, %d shown and taken back, %d states that no order explains",
		v.cuts.Load(), v.acknowledged.Load(), v.checked.Load(), v.shown.Load(),
		v.lost.Load(), v.resurrected.Load(), v.moved.Load(), v.taken.Load(), v.unexplained.Load())
}

// judge opens what a cut left and compares it with every state that the commits explain.
// It returns what is there. Nobody writes any more.
func (l *ledger) judge(t testing.TB, c *cut, sum *counts) world {
	t.Helper()
	e := openTest(t, c.disk, Options{Durability: l.mode, Clock: ttl.NewManual(c.now)})
	checkStore(t, e)
	before := survey(t, e)
	sweepAll(t, e, c.now, 16)
	survivors := survey(t, e)
	closeTest(t, e)
	for s, x := range before {
		if _, kept := survivors[s]; kept == x.deadline.Due(c.now) {
			t.Errorf("%v until %d is there after a sweep at %d: %v", s, x.deadline, c.now, kept)
		}
	}
	at, shownFloor := l.explain(t, c, before)
	sum.cuts.Add(1)
	sum.acknowledged.Add(int64(c.promised.acknowledged))
	sum.checked.Add(int64(len(before)))
	sum.shown.Add(int64(c.promised.shown))
	floor := l.floor(c)
	where := fmt.Sprintf("cut during %s, %d %% of the unsynced data survived", c.during, c.share)
	if at >= 0 && at < shownFloor {
		sum.taken.Add(1)
		t.Errorf("%s: a reader was shown change %d, and %d survived", where, shownFloor, at)
	}
	if at < 0 {
		sum.unexplained.Add(1)
		t.Errorf("%s: no order of the changes explains what is there", where)
	}
	if at < floor {
		t.Errorf("%s: %d of %d changes survived, %d were promised", where, at, c.attempted, floor)
		l.report(t, before, l.at(floor), c.now, sum)
	}
	return survivors
}

// at returns the world after n changes.
func (l *ledger) at(n int) world {
	w := maps.Clone(l.base)
	for i := range n {
		(*l.attempts.Load())[i].apply(w)
	}
	return w
}

// explain returns the largest number of changes after which the world was as found, or -1,
// and how many changes there must be because a reader was shown their doing.
func (l *ledger) explain(t testing.TB, c *cut, found world) (at, shownFloor int) {
	at = -1
	w := maps.Clone(l.base)
	touched, whole := map[spot]int{}, 0 // the newest change that a reader can rely on
	l.mu.Lock()
	pending := slices.Clone(l.seen[:c.promised.shown])
	l.mu.Unlock()
	for n := 0; ; n++ {
		if same(w, found, c.now) {
			at = n
		}
		rest := pending[:0]
		for _, s := range pending {
			switch {
			case s.from > n:
				rest = append(rest, s)
			case s.matches(w):
				shownFloor = max(shownFloor, touched[s.spot], whole)
			case s.to > n:
				rest = append(rest, s)
			default:
				t.Errorf("%s: a reader was shown, after change %d and before %d, %v: %v until %d with %.12q of %d bytes, which nobody wrote",
					c.during, s.from, s.to, s.spot, s.found, s.state.deadline, s.state.value, s.size)
			}
		}
		pending = rest
		if n == c.attempted {
			break
		}
		x := &(*l.attempts.Load())[n]
		x.apply(w)
		if !x.lasting && l.mode != storage.Strict {
			continue // a power cut may take back an extension that was shown
		}
		if x.whole() {
			whole = n + 1
		}
		for _, e := range x.edits {
			touched[e.spot] = n + 1
		}
	}
	if l.mode == storage.EverySec && c.share != kill {
		shownFloor = 0
	}
	return at, shownFloor
}

// same reports whether found is w, but for dead records that were swept.
func same(w, found world, now ttl.Instant) bool {
	for s, x := range found {
		if w[s] != x {
			return false
		}
	}
	for s, x := range w {
		if _, ok := found[s]; !ok && !x.deadline.Due(now) {
			return false
		}
	}
	return true
}

// report says record by record what is wrong.
func (l *ledger) report(t testing.TB, found, want world, now ttl.Instant, sum *counts) {
	t.Helper()
	var faults []string
	for s, x := range want {
		y, ok := found[s]
		switch {
		case x.deadline.Due(now) || (ok && x == y):
		case ok && x.value == y.value:
			sum.moved.Add(1)
			faults = append(faults, fmt.Sprintf("%v: deadline %d, want %d", s, y.deadline, x.deadline))
		default:
			sum.lost.Add(1)
			faults = append(faults, fmt.Sprintf("%v: lost", s))
		}
	}
	for s := range found {
		if _, ok := want[s]; !ok {
			sum.resurrected.Add(1)
			faults = append(faults, fmt.Sprintf("%v: resurrected", s))
		}
	}
	sort.Strings(faults)
	for _, text := range faults[:min(5, len(faults))] {
		t.Error(text)
	}
}

// survey returns every record of the two databases, dead ones too.
func survey(t testing.TB, e *Engine) world {
	t.Helper()
	w := world{}
	_, err := e.View(context.Background(), storage.Whole, func(r storage.Reader) error {
		var keys []storage.Key
		for db := range 2 {
			for cursor := uint64(0); ; {
				next, err := r.Scan(db, cursor, 100, func(k storage.Key, _ storage.Record) bool {
					keys = append(keys, storage.Key{DB: k.DB, Name: []byte(string(k.Name))})
					return true
				})
				if err != nil {
					return err
				}
				if cursor = next; cursor == 0 {
					break
				}
			}
		}
		for _, k := range keys {
			rec, found, err := r.Get(k)
			if err != nil || !found {
				return fmt.Errorf("%q is scanned and not found: %v", k.Name, err)
			}
			w[spot{k.DB, string(k.Name)}] = image{string(rec.Value), rec.Deadline}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// update makes a change.
func (c change) update(e *Engine) (storage.Barrier, error) {
	scope := storage.Scope{All: c.whole()}
	for _, x := range c.edits {
		scope.Keys = append(scope.Keys, x.spot.key())
	}
	return e.Update(context.Background(), scope, func(tx storage.Txn) error {
		switch {
		case c.swap:
			return tx.Swap(0, 1)
		case c.flush >= 0:
			return tx.Flush(c.flush)
		}
		for _, x := range c.edits {
			if err := x.run(tx); err != nil {
				return err
			}
		}
		return nil
	})
}
