package pebble

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
)

// laxInterval is how long a change that was only handed to the operating system may wait
// for stable storage.
const laxInterval = time.Second

// order numbers the commits. A commit takes its number after it was applied, so the log
// holds every commit up to issued.
type order struct {
	issued   atomic.Uint64 // newest number
	disk     atomic.Uint64 // newest number that has to be on stable storage before a reply
	underway atomic.Int64  // commits that may be visible and have no number yet
}

// begin announces a commit before it becomes visible; end follows.
func (o *order) begin() { o.underway.Add(1) }

// end numbers the commit that began and returns its barrier.
func (o *order) end(disk bool) storage.Barrier {
	b := o.next(disk)
	o.underway.Add(-1)
	return b
}

func (o *order) next(disk bool) storage.Barrier {
	n := o.issued.Add(1)
	if !disk {
		return storage.Barrier{System: n}
	}
	raise(&o.disk, n)
	return storage.Barrier{Disk: n}
}

// newest returns a barrier over everything that was visible before the call. A commit that
// is visible and has no number yet cannot be named; a number taken now stands behind it in
// the log.
func (o *order) newest(disk bool) storage.Barrier {
	if o.underway.Load() != 0 {
		return o.next(disk)
	}
	return storage.Barrier{System: o.issued.Load(), Disk: o.disk.Load()}
}

// flusher makes commits safe. One caller at a time works for all who wait.
type flusher struct {
	demand atomic.Int64  // see walFS
	system atomic.Uint64 // commits up to here survive the end of the process
	disk   atomic.Uint64 // commits up to here survive the end of the machine

	mu    sync.Mutex
	round chan struct{} // closed when the round under way ends; nil if there is none
}

func (f *flusher) covers(b storage.Barrier) bool {
	return b.System <= f.system.Load() && b.Disk <= f.disk.Load()
}

// handed reports whether what b stands for survives the end of the process.
func (f *flusher) handed(b storage.Barrier) bool { return max(b.System, b.Disk) <= f.system.Load() }

// Sync implements storage.Engine. If nothing has to be done it takes two loads and
// allocates nothing. A caller that works for the others does not look at ctx meanwhile.
func (e *Engine) Sync(ctx context.Context, b storage.Barrier) error {
	if err := e.usable(); err != nil {
		return err
	}
	if e.flusher.covers(b) {
		return nil
	}
	return e.await(ctx, b)
}

func (e *Engine) await(ctx context.Context, b storage.Barrier) error {
	// A barrier from before a restart can lie ahead; all that it stood for is durable.
	issued := e.order.issued.Load()
	b = storage.Barrier{System: min(b.System, issued), Disk: min(b.Disk, issued)}
	f := &e.flusher
	for {
		if err := e.failed(); err != nil {
			return err
		}
		f.mu.Lock()
		if f.covers(b) {
			f.mu.Unlock()
			return nil
		}
		if round := f.round; round != nil {
			f.mu.Unlock()
			select {
			case <-round:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		f.round = make(chan struct{})
		f.mu.Unlock()
		if err := e.lead(b.Disk > f.disk.Load()); err != nil {
			return err
		}
	}
}

// lead runs one round: everything that has a number goes to the operating system and, if
// disk is set, to stable storage.
func (e *Engine) lead(disk bool) error {
	f := &e.flusher
	defer func() {
		f.mu.Lock()
		close(f.round)
		f.round = nil
		f.mu.Unlock()
	}()
	defer e.failPanicked()
	n := e.order.issued.Load()
	if disk {
		f.demand.Add(1)
		defer f.demand.Add(-1)
	}
	e.journal.turn()
	if err := e.db.LogData(nil, pebbledb.Sync); err != nil {
		return fmt.Errorf("sync the log: %w", err)
	}
	e.journal.forget()
	raise(&f.system, n)
	if disk {
		raise(&f.disk, n)
	}
	return nil
}

// settleOften brings to stable storage what replies did not wait for, until ctx ends.
func (e *Engine) settleOften(ctx context.Context) {
	for e.clock.Sleep(ctx, laxInterval) == nil {
		e.watchRoom()
		err := e.await(ctx, storage.Barrier{Disk: e.order.issued.Load()})
		if err != nil && ctx.Err() == nil {
			e.logger.Error("sync in the background", "err", err)
		}
		e.watchTables()
		if e.mayFlush() {
			if err := e.large.release(e.db.AsyncFlush); err != nil {
				e.logger.Error("flush in the background", "err", err)
			}
		}
	}
}

func raise(to *atomic.Uint64, n uint64) {
	for old := to.Load(); old < n; old = to.Load() {
		if to.CompareAndSwap(old, n) {
			return
		}
	}
}
