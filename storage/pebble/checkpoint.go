package pebble

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/diskspace"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
	"github.com/sessiond/sessiond/ttl"
)

// checkpoints brings to the tree what the memory has, says there how far it has followed the log, and
// gives back the segments before that.
type checkpoints struct {
	wanted   chan struct{} // holds one element if somebody asked for one
	followed atomic.Uint64 // LSN before which the files of the tree have everything
	running  chan struct{} // holds one element while somebody does

	// Of who is running.
	mark   tree.Mark          // where the frozen generation ends
	spaces layout.PhysicalDBs // as the tree has them
}

func (c *checkpoints) begin() {
	c.wanted, c.running = make(chan struct{}, 1), make(chan struct{}, 1)
}

// followed returns the LSN before which nothing of the log is needed any more.
func (e *Engine) followed() wal.LSN { return wal.LSN(e.checkpoints.followed.Load()) }

// ask has a checkpoint made soon.
func (c *checkpoints) ask() {
	select {
	case c.wanted <- struct{}{}:
	default:
	}
}

// checkpointOften makes the checkpoints that are asked for, until ctx ends.
func (e *Engine) checkpointOften(ctx context.Context) {
	for {
		select {
		case <-e.checkpoints.wanted:
		case <-ctx.Done():
			return
		}
		err := e.checkpoint(ctx)
		if err != nil && !errors.Is(err, errUnflushed) && ctx.Err() == nil && e.failed() == nil {
			e.logger.Error("checkpoint in the background", "err", err)
		}
		e.guard.Wake()
	}
}

// checkpoint has the tree follow the log up to its present end, and frees what lies before. If
// Pebble would make it wait it does nothing: whoever waits asks again.
func (e *Engine) checkpoint(ctx context.Context) error {
	if err := e.checkpoints.take(ctx); err != nil {
		return err
	}
	defer e.checkpoints.let()
	return e.followOnce(ctx)
}

// take waits until nobody else brings anything to the tree; let ends that.
func (c *checkpoints) take(ctx context.Context) error {
	select {
	case c.running <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *checkpoints) let() { <-c.running }

// followOnce is checkpoint for who has taken the right to it.
func (e *Engine) followOnce(ctx context.Context) error {
	if !e.guard.MayCheckpoint() {
		return nil
	}
	return e.follow(ctx, false)
}

// checkpointTo is checkpoint for what the log lacks: it returns when the tree has followed beyond n, or
// the store has failed.
func (e *Engine) checkpointTo(n wal.LSN) error {
	if err := e.checkpoints.take(context.Background()); err != nil {
		return err
	}
	defer e.checkpoints.let()
	for e.followed() < n {
		if err := e.follow(context.Background(), true); err != nil {
			return err
		}
	}
	return nil
}

// follow brings the generation that is frozen to the tree, or else freezes one. It returns errUnflushed
// if that does not work at once, unless it is to insist: then the generation stays frozen, and the next
// call begins anew with it.
func (e *Engine) follow(ctx context.Context, insist bool) (err error) {
	defer e.failPanicked(&err)
	c := &e.checkpoints
	if !e.freeze() { // what was held then may be free now
		return e.logError(context.Background(), e.log.Release(e.followed()))
	}
	g := e.memory.Load().Frozen()
	w := e.treeWriter(ctx, insist)
	w.Whole = g.Whole()
	err = w.Write(g)
	if first := w.Earliest(); first != ttl.Never {
		c.mark.Fence = min(c.mark.Fence, first)
	}
	if err := w.Finish(err, c.mark.Write(w.Batch(), c.spaces)); err != nil {
		return err
	}
	if err := e.flushTree(ctx, insist); err != nil {
		return err
	}
	c.spaces = c.mark.DBs
	e.index.lower(w.Earliest()) // before the memory forgets it
	e.memory.Store(e.memory.Load().Thaw())
	raise(&c.followed, uint64(c.mark.Followed))
	return e.logError(context.Background(), e.log.Release(c.mark.Followed))
}

// treeWriter returns what brings a generation to the tree, without waiting for Pebble inside it: see
// awaitTree.
func (e *Engine) treeWriter(ctx context.Context, insist bool) *tree.Writer {
	w := tree.NewWriter(e.db)
	w.Apply = func(b *pebbledb.Batch) error { return e.apply(b) }
	w.Wait = func() error { return e.awaitTree(ctx, insist) }
	if kept := e.large.threshold; kept > 0 {
		w.Most = min(w.Most, kept/2) // Pebble keeps larger ones as they are
	}
	return w
}

// apply writes b to the tree, and then frees it. Built is what went wrong in building it. The log has
// what is in it, or the caller knows that nobody misses it: so an error is the end of the store.
func (e *Engine) apply(b *pebbledb.Batch, built ...error) (err error) {
	defer e.failPanicked(&err)
	e.large.note(b.Len())
	err = errors.Join(built...)
	if err == nil {
		err = e.db.Apply(b, pebbledb.NoSync)
	}
	if err = errors.Join(err, b.Close()); err != nil {
		if err = e.fail(fmt.Errorf("write to the tree: %w", err)); err != nil {
			return err
		}
	}
	return e.failed()
}

// freeze has a new generation take the changes from here on, unless one is frozen already. It returns
// false if there is nothing to bring to the tree.
func (e *Engine) freeze() bool {
	e.commits.Lock()
	defer e.commits.Unlock()
	m := e.memory.Load()
	if m.Frozen() != nil {
		return true
	}
	n := e.log.End()
	if n == e.followed() && m.Now().Bytes() == 0 {
		return false
	}
	e.checkpoints.mark = tree.Mark{
		Followed: n,
		Revision: e.revisions.Load(),
		Counts:   e.counters.all(),
		DBs:      e.databases.spaces,
		Clock:    e.Seen(),
		Fence:    e.index.lowest(),
	}
	e.memory.Store(m.Freeze())
	return true
}

// errUnflushed is what a checkpoint returns that could not write out what Pebble has in memory. Pebble
// goes on trying.
var errUnflushed = diskspace.ErrUnflushed

// awaitTree returns when Pebble has space for more in its tables in memory. Unless it is to insist it
// returns errUnflushed if they cannot be written.
func (e *Engine) awaitTree(ctx context.Context, insist bool) error {
	return e.guard.AwaitTree(ctx, insist)
}

// flushTree brings to the files of the tree what was written to it.
func (e *Engine) flushTree(ctx context.Context, insist bool) error {
	if err := e.awaitTree(ctx, insist); err != nil {
		return err
	}
	return e.guard.Flush(insist)
}

// append adds a frame to the log. Unless it returns an error, commits is held, in one of its ways,
// and the caller lets go of it when the changes of the frame were applied. The caller may hold all
// locks that come before it in the order.
//
// Where the log is full it waits for a checkpoint: but not for room on the disk.
func (e *Engine) append(frame []byte, commits sync.Locker) (wal.LSN, error) {
	for {
		commits.Lock()
		lsn, err := e.log.Append(frame)
		if err == nil {
			return lsn, nil
		}
		commits.Unlock()
		if !errors.Is(err, wal.ErrFull) {
			return 0, e.logError(context.Background(), err)
		}
		if err := e.guard.LogFull(); err != nil {
			return 0, err
		}
		woken := e.guard.Woken()
		if e.log.Room() >= len(frame) {
			continue // there was one meanwhile
		}
		e.wantCheckpoint()
		select {
		case <-woken:
		case <-e.over.Done():
			if err := e.failed(); err != nil {
				return 0, err
			}
			return 0, storage.ErrClosed
		}
	}
}

// wantCheckpoint has a checkpoint made soon if it would free some of the log or of the memory. What
// keeps the rest, such as a backup, settleOften looks at.
func (e *Engine) wantCheckpoint() {
	if (e.followed() < e.log.End() || e.memory.Load().Now().Bytes() > 0) && !e.guard.Busy() {
		e.checkpoints.ask()
	}
}

// fills reports whether so much of the log or of the memory waits for a checkpoint that one is due, and
// whether changes that can wait should do so until there was one.
func (e *Engine) fills() (due, full bool) {
	room, capacity := e.log.Room(), e.log.Capacity()
	m, most := e.memory.Load(), e.log.Most()
	return room < capacity/2 || m.Now().Bytes() > most/2, room < capacity/8 || m.Bytes() > 2*most
}

// hasMuch reports whether so much waits for a checkpoint that it is worth one while nobody changes
// anything: those who come later are spared it, and the space of what was deleted comes back.
func (e *Engine) hasMuch() bool {
	most := e.log.Most() / logSegments
	return int64(e.log.End()-e.followed()) > most || e.memory.Load().Now().Bytes() > most
}
