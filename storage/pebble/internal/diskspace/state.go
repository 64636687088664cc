package diskspace

import "sync/atomic"

// level says which classes are refused for want of space.
type level int32

const (
	normal       level = iota // none
	noInserts                 // ClassInsert
	noExtensions              // ClassInsert and ClassExtend
	full                      // all of them
)

// refusing returns the level that refuses a class and those before it.
func refusing(c Class) level { return level(c) + 1 }

func (l level) refuses(c Class) bool { return l >= refusing(c) }

// state is what a Guard remembers from one event to the next. The package comment draws how it changes.
type state struct {
	level              level
	compactionsBlocked bool  // the last compaction that wrote anything found no space
	flushBlocked       bool  // a table in memory could not be written out for want of space
	unsaved            bool  // changes came while the disk was full, and no checkpoint has them yet
	depth              int64 // of the first level, at most
	deepTicks          int   // ticks that found the first level deep, since the last checkpoint for unsaved
}

// deep reports whether the first level has so many tables above each other that it is better
// to merge them than to add one.
func (s state) deep() bool { return s.depth >= MaxDepth/2 }

// crowded reports whether tables pile up in the first level because compactions find no space.
func (s state) crowded() bool { return s.compactionsBlocked && s.deep() }

// event is what may change the state.
type event int

const (
	eventRefused         event = iota // a class found no space
	eventBallastReleased              // a write took a piece of the ballast
	eventApplied                      // a change was applied
	eventCompactionFull               // a compaction found no space
	eventCompacted                    // a compaction has written a table
	eventFlushFull                    // a flush found no space
	eventFlushed                      // a flush has written a table
	eventMeasured                     // the disk and the tree were measured
	eventTick                         // the same, once a second, with the ballast refilled
	eventCheckpoint                   // a checkpoint is to be made for what is unsaved
)

// measured is what next has to know beside the event. Each event has only some of it.
type measured struct {
	class        Class // eventRefused: the class that found no space
	disk         int64 // eventTick: free bytes of the disk
	left         int64 // eventTick: free bytes of the disk and the quota
	unmerged     int64 // eventTick: bytes of the first level
	ballastWhole bool  // eventTick: nothing is missing of the ballast
	ballastLow   bool  // eventTick, eventBallastReleased: the MANIFEST may soon find no space
	depth        int64 // eventMeasured: of the first level
	flushed      bool  // eventMeasured: no table in memory waits to be written
}

// next returns the state after an event. It is the only place that changes a state.
func (t thresholds) next(s state, e event, m measured) state {
	was := s.level
	switch e {
	case eventRefused:
		s.level = max(s.level, refusing(m.class))
	case eventBallastReleased:
		if s.level = max(s.level, noInserts); m.ballastLow {
			s.level = full
		}
	case eventApplied:
		s.unsaved = s.unsaved || s.level > normal
	case eventCompactionFull:
		s.compactionsBlocked = true
		s = s.refuseIfCrowded()
	case eventCompacted:
		s.compactionsBlocked = false
	case eventFlushFull:
		s.flushBlocked = true
		s.level = max(s.level, noExtensions)
	case eventFlushed:
		s.flushBlocked = false
		s.depth++
		s = s.refuseIfCrowded() // the next tick may come too late
	case eventMeasured:
		s.depth = m.depth
		s.flushBlocked = s.flushBlocked && !m.flushed // Pebble calls it an error if what a flush wrote was empty
	case eventTick:
		s.level = t.levelFor(s, m)
		if s.deepTicks++; !s.deep() {
			s.deepTicks = 0
		}
	case eventCheckpoint:
		if s.unsaved {
			s.unsaved, s.deepTicks = false, 0
		}
	}
	if was == normal && s.level > normal {
		s.unsaved = true // perhaps a change came just before
	}
	return s
}

// cannotWrite reports whether tables cannot be written for want of space.
func (s state) cannotWrite() bool { return s.flushBlocked || s.crowded() }

func (s state) refuseIfCrowded() state {
	if s.crowded() {
		s.level = max(s.level, noExtensions)
	}
	return s
}

// levelFor returns the level of what was measured. A class that is refused stays so until there is
// somewhat more space than it needs.
func (t thresholds) levelFor(s state, m measured) level {
	l := normal
	for c := range classes {
		need := t.required(c, m.unmerged)
		if s.level.refuses(c) {
			need += t.Hysteresis(c)
		}
		free := m.left
		if c == ClassDelete {
			free = m.disk
		}
		if free < need {
			l = refusing(c)
		}
	}
	switch {
	case m.ballastLow:
		return full
	case s.cannotWrite():
		return max(l, noExtensions)
	case !m.ballastWhole:
		return max(l, noInserts)
	}
	return l
}

// machine holds the one state of a Guard.
type machine struct {
	sizes   thresholds
	current atomic.Pointer[state]
	moved   func(before, after level) // is called when the level has changed; the caller may hold any lock
}

func newMachine(sizes thresholds, moved func(before, after level)) *machine {
	m := &machine{sizes: sizes, moved: moved}
	m.current.Store(&state{})
	return m
}

func (m *machine) now() state { return *m.current.Load() }

// apply makes the change that follows from an event, and returns the state before it. The caller
// may hold any lock.
func (m *machine) apply(e event, with measured) (before state) {
	for {
		p := m.current.Load()
		after := m.sizes.next(*p, e, with)
		if after == *p {
			return *p
		}
		if m.swap(p, after) {
			if p.level != after.level {
				m.moved(p.level, after.level)
			}
			return *p
		}
	}
}

// swap is apart from apply so that an event which changes nothing allocates nothing.
func (m *machine) swap(before *state, after state) bool {
	return m.current.CompareAndSwap(before, &after)
}

func (m *machine) refuse(c Class) { m.apply(eventRefused, measured{class: c}) }
