package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
)

// checkpoints says in the tree how far it has followed the log, and gives back the segments
// before that.
type checkpoints struct {
	wanted   chan struct{} // holds one element if somebody asked for one
	followed atomic.Uint64 // LSN before which the files of the tree have everything
	running  chan struct{} // holds one element while somebody does
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
		e.stalls.move()
	}
}

// checkpoint has the tree follow the log up to its present end, and frees what lies before. If
// Pebble would make it wait it does nothing: whoever waits asks again.
func (e *Engine) checkpoint(ctx context.Context) error {
	c := &e.checkpoints
	select {
	case c.running <- struct{}{}:
		defer func() { <-c.running }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if e.jammed() || e.room.stuck.Load() {
		return nil
	}
	n, err := e.markFollowed()
	if err != nil {
		return err
	}
	return e.flushTo(n, false)
}

// markFollowed writes to the tree that it has followed the log up to its end. That is in the
// tree behind everything it speaks of, and reaches the files of the tree after it or with it.
func (e *Engine) markFollowed() (n wal.LSN, err error) {
	e.commits.Lock()
	defer e.commits.Unlock()
	n = e.log.End()
	if n == e.followed() {
		return n, nil
	}
	b := e.db.NewBatch()
	return n, e.apply(b, e.saveFollowed(b, n))
}

// errUnflushed says that Pebble could not write out what it has in memory. It goes on trying.
var errUnflushed = errors.New("tables in memory could not be written")

// flushTo brings to the files of the tree what it has followed, up to n, and frees the log before.
// It returns errUnflushed if that does not work at once, unless it is to insist.
func (e *Engine) flushTo(n wal.LSN, insist bool) (err error) {
	defer e.failPanicked(&err)
	if n <= e.followed() { // what was held then may be free now
		return e.logError(context.Background(), e.log.Release(n))
	}
	e.stalls.unflushed.Store(false)
	flushed, err := e.db.AsyncFlush()
	if err != nil {
		return err
	}
	for done := false; !done; {
		moved := e.stalls.next()
		select {
		case <-flushed:
			done = true
			continue
		default:
		}
		if !insist && e.stalls.unflushed.Load() {
			return errUnflushed
		}
		select {
		case <-flushed:
		case <-moved:
		}
	}
	if err := e.failed(); err != nil { // and Pebble did not hear of it
		return err
	}
	raise(&e.checkpoints.followed, uint64(n))
	return e.logError(context.Background(), e.log.Release(n))
}

// saveFollowed writes up to where the tree has followed, with the numbers of that moment.
// Nobody commits meanwhile.
func (e *Engine) saveFollowed(b *pebbledb.Batch, n wal.LSN) error {
	errs := []error{
		b.Set(keyFollowed, binary.BigEndian.AppendUint64(nil, uint64(n)), nil),
		b.Set(keyRevision, binary.BigEndian.AppendUint64(nil, e.revisions.Load()), nil),
	}
	c := &e.counters
	c.mu.Lock()
	defer c.mu.Unlock()
	for space, count := range c.of {
		errs = append(errs, b.Set(numbered(keyCount, space), encodeCount(count), nil))
	}
	return errors.Join(errs...)
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
		if e.room.stuck.Load() || e.room.crowds() {
			e.room.refuse(ends)
			return 0, storage.ErrFull
		}
		moved := e.stalls.next()
		if e.log.Room() >= len(frame) {
			continue // there was one meanwhile
		}
		e.wantCheckpoint()
		select {
		case <-moved:
		case <-e.room.over.Done():
			if err := e.failed(); err != nil {
				return 0, err
			}
			return 0, storage.ErrClosed
		}
	}
}

// applyLarge makes a commit of b that fits no segment of the log. It is in the files of the tree when
// applyLarge returns, all of it in one step with the place in the log that it has: a frame that says
// nothing. The caller holds its stripes, so nobody reads the records before. Before is called when
// nobody else commits.
func (e *Engine) applyLarge(b *pebbledb.Batch, before func() error) error {
	n, err := e.append(newFrame(nil), &e.commits)
	if err != nil {
		return errors.Join(err, b.Close())
	}
	err = e.apply(b, before(), e.saveFollowed(b, n))
	e.commits.Unlock()
	if err != nil {
		return err
	}
	return e.flushTo(n, true)
}

// wantCheckpoint has a checkpoint made soon if it would free some of the log. What keeps the rest,
// such as a backup, settleOften looks at.
func (e *Engine) wantCheckpoint() {
	if e.followed() < e.log.End() && !e.jammed() {
		e.checkpoints.ask()
	}
}

// logFills reports whether so much of the log waits for a checkpoint that one is due, and whether
// changes that can wait should do so until there was one.
func (e *Engine) logFills() (due, full bool) {
	room, capacity := e.log.Room(), e.log.Capacity()
	return room < capacity/2, room < capacity/8
}
