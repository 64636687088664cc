package pebble

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
	// compactionPoll is how often Pebble is asked whether a compaction waits.
	compactionPoll = 100 * time.Millisecond
	// A compaction that met a damaged table will meet it again. Pebble would try at once and
	// forever; here it waits, for twice as long each time.
	minCompactionRest, maxCompactionRest = time.Second, 30 * time.Second
	// crowded is how many tables may lie over each other while compactions fail. Beyond it
	// changes are refused, for at maxDepth Pebble would let them wait, and reads behind them.
	crowded = 8
)

// compactions tells Pebble when to compact: as much at a time as Pebble itself wants, but
// nothing for a while after a compaction failed, and nothing before Pebble has opened the store: it
// would wait until it is done. Lock order: granting -> Pebble's -> mu.
type compactions struct {
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

var _ pebbledb.CompactionScheduler = (*compactions)(nil)

func newCompactions(clock ttl.Clock) *compactions {
	over, stop := context.WithCancel(context.Background())
	return &compactions{clock: clock, over: over, stop: stop, rest: minCompactionRest}
}

// Register implements pebbledb.CompactionScheduler.
func (c *compactions) Register(_ int, db pebbledb.DBForCompaction) {
	c.db = db
	c.done.Go(func() {
		for c.clock.Sleep(c.over, compactionPoll) == nil {
			c.grant()
		}
	})
}

// Unregister implements pebbledb.CompactionScheduler. Nobody calls Pebble afterwards.
func (c *compactions) Unregister() {
	c.end()
	c.done.Wait()
}

// end lets no further compaction begin, and only then ends the waits of those who asked for
// one: a compaction whose asker has gone is forgotten by Pebble, but not that it was picked as
// the next, and Pebble panics when it is told to begin it.
func (c *compactions) end() {
	c.granting.Lock()
	c.halt()
	c.granting.Unlock()
	c.stop()
}

// halt lets no further compaction begin. The caller may hold Pebble's locks.
func (c *compactions) halt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// TrySchedule implements pebbledb.CompactionScheduler.
func (c *compactions) TrySchedule() (bool, pebbledb.CompactionGrantHandle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.readyLocked() {
		return false, nil
	}
	c.running++
	return true, compaction{c}
}

func (c *compactions) ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.readyLocked()
}

func (c *compactions) readyLocked() bool {
	return c.opened && !c.closed && !c.restsLocked() && c.running < c.db.GetAllowedWithoutPermission()
}

// rests reports whether no compaction begins because the last one failed.
func (c *compactions) rests() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restsLocked()
}

func (c *compactions) restsLocked() bool {
	rest := c.resume.Sub(c.clock.Now())
	return rest > 0 && rest <= maxCompactionRest // more if the clock stepped back
}

// begin is called when Pebble has opened the store.
func (c *compactions) begin() {
	c.mu.Lock()
	c.opened = true
	c.mu.Unlock()
	c.grant()
}

// UpdateGetAllowedWithoutPermission implements pebbledb.CompactionScheduler.
func (c *compactions) UpdateGetAllowedWithoutPermission() {}

// grant begins compactions that were not allowed when Pebble asked.
func (c *compactions) grant() {
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

func (c *compactions) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
}

// ended is called by Pebble with its locks held.
func (c *compactions) ended(err error) {
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
		c.rest = min(2*c.rest, maxCompactionRest)
	}
}

// compaction is the permission for one compaction.
type compaction struct{ *compactions }

// Started implements pebbledb.CompactionGrantHandle.
func (compaction) Started() {}

// MeasureCPU implements pebbledb.CompactionGrantHandle.
func (compaction) MeasureCPU(pebbledb.CompactionGoroutineKind) {}

// CumulativeStats implements pebbledb.CompactionGrantHandle.
func (compaction) CumulativeStats(pebbledb.CompactionGrantHandleStats) {}

// Done implements pebbledb.CompactionGrantHandle.
func (c compaction) Done() {
	c.release()
	c.grant()
}

// damage returns what made a compaction fail, or nil if none did.
func (c *compactions) damage() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// watchTables refuses changes while damage keeps tables from being merged and there are too
// many of them.
func (e *Engine) watchTables() {
	cause := e.compactions.damage()
	if cause == nil {
		return
	}
	if e.db.Metrics().Levels[0].Sublevels < crowded {
		e.refusal.Store(nil)
		return
	}
	if e.refusal.Swap(&cause) == nil {
		e.logger.Error("changes are refused, sessions can be read", "err", cause)
	}
}
