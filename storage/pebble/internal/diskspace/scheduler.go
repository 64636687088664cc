package diskspace

import (
	"context"
	"errors"
	"sync"
	"time"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
	"github.com/sessiond/sessiond/ttl"
)

const (
	// CompactionPoll is how often Pebble is asked whether a compaction waits.
	CompactionPoll = 100 * time.Millisecond
	// MaxCompactionRest is the longest rest. A compaction that met a damaged table will meet it again.
	// Pebble would try at once and forever; here it rests first, for twice as long each time.
	MaxCompactionRest = 30 * time.Second
	minCompactionRest = time.Second
)

// Scheduler tells Pebble when to compact: as much at a time as Pebble itself wants, but
// nothing for a while after a compaction failed, and nothing before Pebble has opened the store:
// opening would wait until the compaction is done. Lock order: granting -> Pebble's -> mu.
type Scheduler struct {
	clock ttl.Clock
	db    pebbledb.DBForCompaction
	over  context.Context // done when no compaction begins any more
	stop  context.CancelFunc
	done  sync.WaitGroup

	granting sync.Mutex

	mu      sync.Mutex
	running int
	opened  bool
	closed  bool
	rest    time.Duration // after the next failure
	resume  ttl.Instant
	cause   error // of the last failure, if it was damage
}

var _ pebbledb.CompactionScheduler = (*Scheduler)(nil)

func newScheduler(clock ttl.Clock) *Scheduler {
	over, stop := context.WithCancel(context.Background())
	return &Scheduler{clock: clock, over: over, stop: stop, rest: minCompactionRest}
}

// Register implements pebbledb.CompactionScheduler.
func (c *Scheduler) Register(_ int, db pebbledb.DBForCompaction) {
	c.db = db
	c.done.Go(func() {
		for c.clock.Sleep(c.over, CompactionPoll) == nil {
			c.Grant()
		}
	})
}

// Unregister implements pebbledb.CompactionScheduler. Nobody calls Pebble afterwards.
func (c *Scheduler) Unregister() {
	c.End()
	c.done.Wait()
}

// End lets no further compaction begin, and only then ends Context, with which callers wait for one:
// when such a caller gives up, Pebble forgets the compaction, but not that it was picked as
// the next, and Pebble panics when it is told to begin it.
func (c *Scheduler) End() {
	c.granting.Lock()
	c.Halt()
	c.granting.Unlock()
	c.stop()
}

// Halt lets no further compaction begin. The caller may hold Pebble's locks.
func (c *Scheduler) Halt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// TrySchedule implements pebbledb.CompactionScheduler.
func (c *Scheduler) TrySchedule() (bool, pebbledb.CompactionGrantHandle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.readyLocked() {
		return false, nil
	}
	c.running++
	return true, permission{c}
}

func (c *Scheduler) ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.readyLocked()
}

func (c *Scheduler) readyLocked() bool {
	return c.opened && !c.closed && !c.restingLocked() && c.running < c.db.GetAllowedWithoutPermission()
}

// resting reports whether no compaction begins because the last one failed.
func (c *Scheduler) resting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restingLocked()
}

func (c *Scheduler) restingLocked() bool {
	rest := c.resume.Sub(c.clock.Now())
	return rest > 0 && rest <= MaxCompactionRest // more if the clock stepped back
}

// Allow is called when Pebble has opened the store.
func (c *Scheduler) Allow() {
	c.mu.Lock()
	c.opened = true
	c.mu.Unlock()
	c.Grant()
}

// Context returns a context that ends when no compaction begins any more.
func (c *Scheduler) Context() context.Context { return c.over }

// Hold lets no further compaction begin until release is called. It is for tests.
func (c *Scheduler) Hold() (release func()) {
	const all = 100 // more than may run at once
	add := func(n int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.running += n
	}
	add(all)
	return func() { add(-all) }
}

// UpdateGetAllowedWithoutPermission implements pebbledb.CompactionScheduler.
func (c *Scheduler) UpdateGetAllowedWithoutPermission() {}

// Grant begins compactions that were not allowed when Pebble asked.
func (c *Scheduler) Grant() {
	c.granting.Lock()
	defer c.granting.Unlock()
	for c.ready() {
		if waiting, _ := c.db.GetWaitingCompaction(); !waiting {
			return
		}
		ok, handle := c.TrySchedule()
		if !ok {
			return
		}
		if !c.db.Schedule(handle) {
			c.release()
			return
		}
	}
}

func (c *Scheduler) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
}

// Ended is told how a compaction ended. Pebble calls it with its locks held.
func (c *Scheduler) Ended(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.rest = minCompactionRest
	case !errors.Is(err, pebbledb.ErrCancelledCompaction):
		if pebblefile.IsDamage(err) {
			c.cause = pebblefile.ReadError("too many tables wait to be merged", err)
		}
		c.resume = c.clock.Now().Add(c.rest)
		c.rest = min(2*c.rest, MaxCompactionRest)
	}
}

// permission is the permission for one compaction.
type permission struct{ *Scheduler }

// Started implements pebbledb.CompactionGrantHandle.
func (permission) Started() {}

// MeasureCPU implements pebbledb.CompactionGrantHandle.
func (permission) MeasureCPU(pebbledb.CompactionGoroutineKind) {}

// CumulativeStats implements pebbledb.CompactionGrantHandle.
func (permission) CumulativeStats(pebbledb.CompactionGrantHandleStats) {}

// Done implements pebbledb.CompactionGrantHandle.
func (c permission) Done() {
	c.release()
	c.Grant()
}

// Damage returns what made a compaction fail, or nil if none did.
func (c *Scheduler) Damage() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}
