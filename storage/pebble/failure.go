package pebble

import (
	"errors"
	"fmt"

	"github.com/sessiond/sessiond/storage"
)

// errFailed is what every call returns once the store has failed, until Fatal has ended the
// process.
var errFailed = errors.New("store has failed")

// fail ends the process, because nobody can say any more what is on stable storage. From
// here on nothing is acknowledged, and nothing is tried again: a second fsync may say that
// all is well when the first one has already dropped what it could not write.
//
// It may be called by any goroutine, with any lock held. While Pebble opens the store, which
// one goroutine does, it panics instead, and openDB returns the error.
func (e *Engine) fail(err error) {
	if !e.serving.Load() {
		panic(err)
	}
	e.failure.CompareAndSwap(nil, &err)
	e.fatal(err)
	panic("pebble: Options.Fatal returned")
}

// failServing is fail, but while Pebble opens the store: there the error is on its way to who
// opens it.
func (e *Engine) failServing(err error) {
	if e.serving.Load() {
		e.fail(err)
	}
}

// failPanicked is deferred around what writes to the log: Pebble panics, with its locks held,
// if the log broke under an earlier commit.
func (e *Engine) failPanicked() {
	if p := recover(); p != nil {
		e.fail(fmt.Errorf("write to the log: %v", p))
	}
}

// failed returns nil, or why the store has failed.
func (e *Engine) failed() error {
	if err := e.failure.Load(); err != nil {
		return fmt.Errorf("%w: %w", errFailed, *err)
	}
	return nil
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
