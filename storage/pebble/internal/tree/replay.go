package tree

import (
	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/dirty"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
	"github.com/sessiond/sessiond/ttl"
)

// Replay makes the changes of the log again, in memory: the tree is not even read. Each is a final
// state, so it does not matter which of them the tree has already.
//
// The log does not say where the index has a record. So each is filed once more, at its deadline: what
// the index has before is stale, and goes when it comes due.
type Replay struct {
	Mark    Mark // of the place up to which frames were replayed
	Memory  *dirty.Memory
	Changes int // that were made
}

// FirstRevision returns the first revision of a life. Frames count revisions from there.
func FirstRevision(life uint32) uint64 { return uint64(life) << 40 }

// Frame makes the changes of one frame.
func (r *Replay) Frame(f wal.Frame) error {
	origin := FirstRevision(f.Life)
	return layout.EachChange(f.Payload, func(c *layout.Change) error {
		r.Changes++
		switch c.Kind {
		case layout.ChangeFlush:
			r.Mark.Counts[c.PhysicalDB] = storage.Count{} // the tree has to hear of it
			r.Memory.Now().Flush(c.PhysicalDB)
		case layout.ChangePhysicalDBs:
			r.Mark.DBs = c.PhysicalDBs
		case layout.ChangeClock:
			r.Mark.Clock = c.Deadline
		default:
			physical := c.Slot.PhysicalDB()
			r.Mark.Counts[physical] = Sum(r.Mark.Counts[physical], c.Difference())
			r.record(c, origin)
		}
		return nil
	})
}

// record keeps what became of a record.
func (r *Replay) record(c *layout.Change, origin uint64) {
	slot, now := uint64(c.Slot), r.Memory.Now()
	if c.Kind == layout.ChangeDelete {
		now.Keep(slot, c.Name, dirty.State{Gone: true}, 0)
		return
	}
	s := dirty.State{
		Kind: byte(c.Record), Size: uint32(c.Size), Deadline: int64(c.Deadline), Indexed: int64(c.Deadline),
		Revision: origin + c.Revision, Whole: c.Kind == layout.ChangePut, Value: c.Value,
	}
	if c.Kind == layout.ChangeTouch {
		if was, known := r.Memory.Recent(slot, c.Name); known && (was.Gone || was.Size != s.Size) {
			return // the value it speaks of was lost with a part of the log: see package repair
		}
	}
	r.Mark.Revision = max(r.Mark.Revision, s.Revision)
	now.Keep(slot, c.Name, s, 0)
}

// File files each record that was replayed for the sweeper, and returns the first deadline of them;
// ttl.Never if none has one.
func (r *Replay) File() (first ttl.Instant) {
	now := r.Memory.Now()
	for n := range dirty.Parts {
		now.Refs(n, func(ref dirty.Ref, slot uint64, s dirty.State) {
			if !s.Gone && s.Deadline != 0 {
				now.Filings.Add(dirty.Filing{Due: s.Deadline, Place: slot, Ref: ref})
				first = ttl.Earlier(first, ttl.Instant(s.Deadline))
			}
		})
	}
	return first
}
