package pebble

import (
	"slices"

	"github.com/sessiond/sessiond/storage/pebble/internal/dirty"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
	"github.com/sessiond/sessiond/ttl"
)

// recovery makes the changes of the log again, in memory: the tree is not even read. Each is a final
// state, so it does not matter what the tree has already.
//
// The log does not say where the index has a record. So each is filed anew, at its deadline: what the
// index has before is stale, and goes when it comes due.
type recovery struct {
	e       *Engine
	g       *dirty.Generation
	changes int
	diffs   []difference
}

// newRecovery returns what makes changes in e, whose head was loaded.
func newRecovery(e *Engine) *recovery { return &recovery{e: e, g: e.memory.Load().Now()} }

// repeat makes the changes of one frame.
func (r *recovery) repeat(f wal.Frame) error {
	e, origin := r.e, originOf(f.Life)
	r.diffs = r.diffs[:0]
	err := layout.EachChange(f.Payload, func(c *layout.Change) error {
		r.changes++
		switch c.Kind {
		case layout.ChangeFlush:
			r.diffs = slices.DeleteFunc(r.diffs, func(d difference) bool { return d.space == c.PhysicalDB })
			e.counters.apply([]uint16{c.PhysicalDB}, nil)
			r.g.Flush(c.PhysicalDB)
		case layout.ChangePhysicalDBs:
			e.databases.spaces = c.PhysicalDBs
		case layout.ChangeClock:
			e.index.last = c.Deadline
			e.index.seen.Store(int64(c.Deadline))
		default:
			r.diffs = addDifference(r.diffs, c.Slot.PhysicalDB(), c.Difference())
			r.record(c, origin)
		}
		return nil
	})
	e.counters.apply(nil, r.diffs)
	return err
}

// record notes what became of a record.
func (r *recovery) record(c *layout.Change, origin uint64) {
	p := uint64(c.Slot)
	if c.Kind == layout.ChangeDelete {
		r.g.Keep(p, c.Name, dirty.State{Gone: true}, 0)
		return
	}
	s := dirty.State{
		Kind: byte(c.Record), Size: uint32(c.Size), Deadline: int64(c.Deadline), Indexed: int64(c.Deadline),
		Revision: origin + c.Revision, Whole: c.Kind == layout.ChangePut, Value: c.Value,
	}
	if c.Kind == layout.ChangeTouch {
		if was, known := r.e.memory.Load().Recent(p, c.Name); known && (was.Gone || was.Size != s.Size) {
			return // what it speaks of was lost with a part of the log: see salvage
		}
	}
	raise(&r.e.revisions, s.Revision)
	r.g.Keep(p, c.Name, s, 0)
}

// file has the sweeper look at what was found.
func (r *recovery) file() {
	first := ttl.Never
	for n := range dirty.Parts {
		r.g.Refs(n, func(ref dirty.Ref, place uint64, s dirty.State) {
			if !s.Gone && s.Deadline != 0 {
				r.g.Filings.Add(dirty.Filing{Due: s.Deadline, Place: place, Ref: ref})
				first = earlier(first, ttl.Instant(s.Deadline))
			}
		})
	}
	r.e.index.notice(first)
}
