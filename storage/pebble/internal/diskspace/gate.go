package diskspace

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// gate is the write gate: it makes changes wait while the log or the memory is nearly full of what the
// tree has not followed. The log would do that itself, in the middle of a commit: what lies under its
// stripes could not even be read then, and on a disk that has just become full it could not be refused any
// more. A few commits that have passed the gate when it closes still wait there.
type gate struct {
	clock       ttl.Clock
	logger      *slog.Logger
	over        context.Context // ends with the store
	sizes       thresholds
	every       int64 // bytes that may be written before the backlog is looked at again
	state       *machine
	parts       *parts
	compactions *Scheduler

	written     atomic.Int64 // bytes since the backlog was looked at
	flushFailed atomic.Bool  // the last flush did

	mu       sync.Mutex
	quiet    ttl.Instant // until then the log says nothing more
	waiting  int
	begun    ttl.Instant
	reported bool          // the log says that changes wait
	woken    chan struct{} // closed by wake; nil if nobody waits
}

// gateSilence is how long the log says nothing more of waits that come and go: a busy disk makes
// changes wait for moments. On a disk on which nothing can be flushed they wait for ever.
const gateSilence = 10 * time.Second

// Wait returns when a change may go on. The caller holds no stripe.
func (w *gate) Wait(ctx context.Context) error {
	if w.written.Load() < w.every {
		return nil
	}
	for waited := false; ; waited = true {
		woken := w.Woken()
		due, full := w.parts.store.Backlog()
		if due {
			w.parts.store.WantCheckpoint()
		}
		if !full || w.state.now().cannotWrite() { // then the change will be refused
			w.written.Store(0)
			if waited {
				w.end()
			}
			return cmp.Or(w.parts.store.Usable(), ctx.Err())
		}
		if !waited {
			w.begin()
		}
		select {
		case <-woken:
		case <-ctx.Done():
			w.end()
			return ctx.Err()
		case <-w.over.Done():
			w.end()
			return cmp.Or(w.parts.store.Failed(), storage.ErrClosed)
		}
	}
}

// Woken returns a channel that is closed when it is worth while to look again at what one waits for.
func (w *gate) Woken() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.woken == nil {
		w.woken = make(chan struct{})
	}
	return w.woken
}

// Wake makes waiting goroutines look again. The caller may hold Pebble's locks.
func (w *gate) Wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.woken != nil {
		close(w.woken)
		w.woken = nil
	}
}

func (w *gate) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting++; w.waiting > 1 {
		return
	}
	w.begun = w.clock.Now()
	left := w.quiet.Sub(w.begun)
	if w.reported = left <= 0 || left > gateSilence; w.reported { // more if the clock stepped back
		w.quiet = w.begun.Add(gateSilence)
		w.logger.Warn("changes wait until the store has written tables")
	}
}

func (w *gate) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting--; w.waiting == 0 && w.reported {
		w.logger.Warn("changes wait no longer", "after", w.clock.Now().Sub(w.begun))
	}
}

// ErrUnflushed says that Pebble could not write out what it has in memory. It goes on trying.
var ErrUnflushed = errors.New("tables in memory could not be written")

// AwaitTree returns when Pebble has space for more in its tables in memory: a caller that waited inside
// Pebble could not give up. Unless it insists it gets ErrUnflushed if those tables cannot be written.
func (w *gate) AwaitTree(ctx context.Context, insist bool) error {
	for {
		woken := w.Woken()
		switch {
		case !w.Busy():
			return w.parts.store.Failed()
		case !insist && w.blocked():
			return ErrUnflushed
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := w.parts.store.Failed(); err != nil {
			return err
		}
	}
}

// Flush brings to the files of the tree what was written to it. Unless the caller insists it gets
// ErrUnflushed if that fails: Pebble goes on trying.
func (w *gate) Flush(insist bool) error {
	w.flushFailed.Store(false)
	flushed, err := w.parts.tree.AsyncFlush()
	if err != nil {
		return err
	}
	for {
		woken := w.Woken()
		select {
		case <-flushed:
			return w.parts.store.Failed() // Pebble did not hear of it
		default:
		}
		if !insist && w.flushFailed.Load() {
			return ErrUnflushed
		}
		select {
		case <-flushed:
		case <-woken:
		}
	}
}

// MayFlush reports whether Pebble would begin a flush at once. Else a caller that asks Pebble for one waits
// until it can: on a full disk until somebody makes space.
func (w *gate) MayFlush() bool {
	u := w.parts.treeSize()
	return !w.state.now().flushBlocked && u.pending <= w.sizes.memTable*MemTables/2 && u.depth < MaxDepth-1
}

// Busy reports whether Pebble would make a checkpoint wait that has to begin a new table in memory: those
// in memory, when they are written, count among the tables that lie above each other.
func (w *gate) Busy() bool {
	u := w.parts.treeSize()
	return u.pending >= MemTables*w.sizes.memTable || u.depth+u.waiting >= MaxDepth
}

// MayCheckpoint reports whether a checkpoint would not wait for Pebble.
func (w *gate) MayCheckpoint() bool { return !w.Busy() && !w.state.now().flushBlocked }

// blocked reports whether Pebble may be busy for long: until somebody makes space, or for ever. Tables in
// memory that are being written are worth the wait.
func (w *gate) blocked() bool {
	s := w.state.now()
	if s.flushBlocked {
		return true
	}
	u := w.parts.treeSize()
	return u.waiting == 0 && u.depth >= MaxDepth && (s.crowded() || w.compactions.resting())
}
