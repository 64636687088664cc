package pebble

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// stalls makes changes wait while Pebble's tables in memory are full, or too many wait on the
// disk to be merged, or the log is nearly full of what the tree has not followed. Pebble and the
// log would do that themselves, in the middle of a commit: what lies under its stripes could not
// even be read then, and on a disk that has just become full it could not be refused any more. A
// few that are on their way when it begins still wait there.
type stalls struct {
	e     *Engine
	quiet ttl.Instant // when the silence ends
	every int64       // bytes that may be applied between two looks at Pebble

	applied   atomic.Int64 // bytes since the last look
	unflushed atomic.Bool  // the last flush failed

	mu      sync.Mutex
	waiting int
	begun   ttl.Instant
	told    bool          // of the stall that began then
	moved   chan struct{} // closed when it may be over; nil if nobody waits
}

// stallSilence is how long nothing more is said of stalls that come and go: a busy disk makes
// changes wait for moments. On one on which nothing can be flushed they wait for ever.
const stallSilence = 10 * time.Second

// listen follows what Pebble tells l.
func (s *stalls) listen(l *pebbledb.EventListener) {
	l.WriteStallBegin = func(info pebbledb.WriteStallBeginInfo) { s.begin(info.Reason) }
	l.WriteStallEnd = s.end
	flushed, compacted := l.FlushEnd, l.CompactionEnd
	l.FlushEnd = func(info pebbledb.FlushInfo) {
		flushed(info)
		s.unflushed.Store(info.Err != nil)
		s.move()
	}
	l.CompactionEnd = func(info pebbledb.CompactionInfo) {
		compacted(info)
		s.move()
	}
}

// note is told of every batch of n bytes that is applied.
func (s *stalls) note(n int) { s.applied.Add(int64(n)) }

// wait returns when Pebble would not make a change wait, or the change will be refused. The
// caller holds no stripe.
func (s *stalls) wait(ctx context.Context) error {
	if s.applied.Load() < s.every {
		return nil
	}
	for waited := false; ; waited = true {
		moved := s.next()
		if due, _ := s.e.logFills(); due {
			s.e.wantCheckpoint()
		}
		if !s.e.waits() {
			s.applied.Store(0)
			if waited {
				s.end()
			}
			return s.e.ready(ctx)
		}
		if !waited {
			s.begin("tables wait to be written or merged, or the log for a checkpoint")
		}
		select {
		case <-moved:
		case <-ctx.Done():
			s.end()
			return ctx.Err()
		case <-s.e.room.over.Done():
			s.end()
			return cmp.Or(s.e.failed(), storage.ErrClosed)
		}
	}
}

// next returns a channel that is closed at the next move.
func (s *stalls) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moved == nil {
		s.moved = make(chan struct{})
	}
	return s.moved
}

// move has who waits look again. The caller may hold Pebble's locks.
func (s *stalls) move() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moved != nil {
		close(s.moved)
		s.moved = nil
	}
}

func (s *stalls) begin(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting++; s.waiting > 1 {
		return
	}
	s.begun = s.e.clock.Now()
	left := s.quiet.Sub(s.begun)
	if s.told = left <= 0 || left > stallSilence; s.told { // more if the clock stepped back
		s.quiet = s.begun.Add(stallSilence)
		s.e.logger.Warn("changes wait until the store has flushed or compacted", "reason", reason)
	}
}

func (s *stalls) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting--; s.waiting == 0 && s.told {
		s.e.logger.Warn("changes wait no longer", "after", s.e.clock.Now().Sub(s.begun))
	}
}

// jammed reports whether Pebble would make a commit wait that has to begin a new table in
// memory, and the commit will not be refused.
func (e *Engine) jammed() bool {
	r := e.room
	if r.stuck.Load() || r.crowds() {
		return false
	}
	w := e.written()
	return w.pending >= memTables*r.memTable || w.depth >= maxDepth
}

// waits reports whether changes have to wait for Pebble or for a checkpoint.
func (e *Engine) waits() bool {
	if e.jammed() {
		return true
	}
	_, full := e.logFills()
	return full && !e.room.stuck.Load() && !e.room.crowds()
}
