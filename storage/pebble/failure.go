package pebble

import (
	"fmt"

	"github.com/sessiond/sessiond/storage"
)

// When a store fails, nobody can say any more what is on stable storage, and nothing is tried
// again: a second fsync may say that all is well when the first one has already dropped what it
// could not write. Nothing is acknowledged from then on, and nothing reaches the disk.
//
// Pebble knows no such end. Where its MANIFEST fails it panics, with its locks held,
// or wants the process to end, and whoever is in it at that moment never comes out. So Pebble
// is told that what failed went well, and failedFS sees to it that the rest of its work goes
// nowhere: every call that is under way returns, and Pebble can be closed. The failure is noted
// before the first untruth, so who asked Pebble for something and then finds the store sound
// was told the truth. See apply and flushTree.

// fail ends the store for a reason and returns nil, with which Pebble may go on. While Pebble
// opens the store it returns the reason instead, which is on its way to who opens it.
//
// It may be called by any goroutine, with any lock held.
func (e *Engine) fail(reason error) error {
	if !e.serving.Load() {
		return reason
	}
	e.failOnce.Do(func() {
		err := fmt.Errorf("%w: %w", storage.ErrFailed, reason)
		defer e.end(err) // should OnFailure panic, too
		e.logger.Error("the store cannot go on", "err", reason)
		if e.onFailure != nil {
			e.onFailure(err)
		}
	})
	return nil
}

func (e *Engine) end(failure error) {
	e.failure.Store(&failure)
	e.files.over.Store(true)
	e.guard.Halt()
	go e.guard.End() // it takes locks; Close ends them, too
	e.stop()
}

// halt is fail for what Pebble cannot go on from, which is that its own data contradict each
// other. Its locks may be held, by a goroutine that must not return to it: that one waits here
// for the end of the process, and Close leaves Pebble alone. Calls that are in Pebble at that
// moment may wait with it.
//
// While Pebble opens the store, which one goroutine does, it panics, and openDB returns the
// reason.
func (e *Engine) halt(reason error) {
	e.torn.Store(true)
	if err := e.fail(reason); err != nil {
		panic(err)
	}
	select {}
}

// failPanicked is deferred around calls of Pebble, which may panic with its locks held.
func (e *Engine) failPanicked(err *error) {
	if p := recover(); p != nil {
		e.torn.Store(true)
		if *err = e.fail(fmt.Errorf("panic in the storage engine: %v", p)); *err == nil {
			*err = e.failed()
		}
	}
}

// failed returns nil, or why the store has failed, which wraps storage.ErrFailed.
func (e *Engine) failed() error {
	if err := e.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// blame returns err, or the failure of the store if that is why there is an error.
func (e *Engine) blame(err error) error {
	if failure := e.failed(); err != nil && failure != nil {
		return failure
	}
	return err
}

// usable returns nil as long as the store takes calls.
func (e *Engine) usable() error {
	if err := e.failed(); err != nil {
		return err
	}
	if e.closed.Load() {
		return storage.ErrClosed
	}
	return nil
}
