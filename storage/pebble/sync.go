package pebble

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
)

// laxInterval is how long a change that was only handed to the operating system may wait
// for stable storage.
const laxInterval = time.Second

// mode returns the present durability.
func (e *Engine) mode() storage.Durability { return storage.Durability(e.durability.Load()) }

// SetDurability implements storage.Engine. Whoever still goes by the old mode asked for it
// after his frame was appended, or after he had read what was appended, and so before the end of
// the log that is taken here.
func (e *Engine) SetDurability(d storage.Durability) storage.Barrier {
	e.durability.Store(int64(d))
	if err := e.pace(d); err != nil {
		_ = e.logError(context.Background(), err) // Sync tells of it
	}
	end := e.logEnd()
	raise(&e.lasting, uint64(end))
	return end
}

// pace fits the way in which the log is written to how often it is synced.
func (e *Engine) pace(d storage.Durability) error {
	return e.log.Direct(e.home.fs == folder.SystemFS && d == storage.EverySec)
}

// logEnd returns a barrier over everything that was visible before the call: a frame is appended
// before its changes are visible.
func (e *Engine) logEnd() storage.Barrier { return storage.Barrier(e.log.End()) }

// newest returns a barrier over every visible change that replies wait for.
func (e *Engine) newest() storage.Barrier { return storage.Barrier(e.lasting.Load()) }

// Sync implements storage.Engine. If nothing has to be done it takes a few loads and allocates
// nothing. A caller that works for the others does not look at ctx meanwhile.
func (e *Engine) Sync(ctx context.Context, b storage.Barrier) error {
	if err := e.usable(); err != nil {
		return err
	}
	return e.await(ctx, b)
}

func (e *Engine) await(ctx context.Context, b storage.Barrier) error {
	// A barrier from before a restart can lie ahead; all that it stood for is durable.
	lsn := wal.LSN(min(b, e.logEnd()))
	var err error
	if e.log.Synced() >= lsn {
		err = e.log.Write()
	} else {
		err = e.log.Sync(ctx, lsn)
	}
	return e.logError(ctx, err)
}

// logError returns what an error of the log means: the end of the store, unless ctx ended.
func (e *Engine) logError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return e.failed()
	case e.log.Err() == nil && ctx.Err() != nil:
		return err
	case e.failed() == nil:
		if err := e.fail(err); err != nil {
			return err
		}
	}
	return e.failed()
}

// settleOften brings to stable storage what replies did not wait for, until ctx ends.
func (e *Engine) settleOften(ctx context.Context) {
	var quiet wal.LSN // the end of the log at the last look
	for e.clock.Sleep(ctx, laxInterval) == nil {
		e.watchDisk()
		err := e.await(ctx, e.logEnd())
		if err == nil {
			err = e.logError(ctx, e.log.Note())
		}
		if err != nil && ctx.Err() == nil {
			e.logger.Error("sync in the background", "err", err)
		}
		end := e.log.End()
		if due, _ := e.fills(); due || end == quiet && e.hasMuch() {
			e.checkpoints.ask()
		}
		quiet = end
		e.guard.Wake()
		if e.guard.MayFlush() {
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
