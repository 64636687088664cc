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

// stalls makes changes wait while the log or the memory is nearly full of what the tree has not
// followed. The log would do that itself, in the middle of a commit: what lies under its stripes could
// not even be read then, and on a disk that has just become full it could not be refused any more. A
// few that are on their way when it begins still wait there.
type stalls struct {
	e     *Engine
	quiet ttl.Instant // when the silence ends
	every int64       // bytes that may be written between two looks

	written   atomic.Int64 // bytes since the last look
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

// note is told of every frame of n bytes.
func (s *stalls) note(n int) { s.written.Add(int64(n)) }

// wait returns when there is room for a change, or it will be refused. The caller holds no stripe.
func (s *stalls) wait(ctx context.Context) error {
	if s.written.Load() < s.every {
		return nil
	}
	for waited := false; ; waited = true {
		moved := s.next()
		if due, _ := s.e.fills(); due {
			s.e.wantCheckpoint()
		}
		if !s.e.waits() {
			s.written.Store(0)
			if waited {
				s.end()
			}
			return s.e.ready(ctx)
		}
		if !waited {
			s.begin()
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

func (s *stalls) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting++; s.waiting > 1 {
		return
	}
	s.begun = s.e.clock.Now()
	left := s.quiet.Sub(s.begun)
	if s.told = left <= 0 || left > stallSilence; s.told { // more if the clock stepped back
		s.quiet = s.begun.Add(stallSilence)
		s.e.logger.Warn("changes wait until the store has written tables")
	}
}

func (s *stalls) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting--; s.waiting == 0 && s.told {
		s.e.logger.Warn("changes wait no longer", "after", s.e.clock.Now().Sub(s.begun))
	}
}

// busy reports whether Pebble would make a checkpoint wait that has to begin a new table in memory: those
// in memory, when they are written, count among the tables that lie above each other.
func (e *Engine) busy() bool {
	w := e.written()
	return w.pending >= memTables*e.room.memTable || w.depth+w.waiting >= maxDepth
}

// blocked reports whether Pebble may be busy for long: until somebody makes room, or for ever. Tables in
// memory that are being written are worth the wait.
func (e *Engine) blocked() bool {
	if e.room.stuck.Load() {
		return true
	}
	w := e.written()
	return w.waiting == 0 && w.depth >= maxDepth && (e.room.crowds() || e.compactions.rests())
}

// waits reports whether changes have to wait for a checkpoint, and will not be refused.
func (e *Engine) waits() bool {
	_, full := e.fills()
	return full && !e.room.stuck.Load() && !e.room.crowds()
}
