package pebble

import (
	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/dirty"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
	"github.com/sessiond/sessiond/ttl"
)

// stateOf returns a record that did not get another value, as the memory keeps it.
func stateOf(x layout.Header) dirty.State {
	return dirty.State{
		Kind: byte(x.Kind), Size: x.Size, Deadline: int64(x.Deadline), Indexed: int64(x.Indexed), Revision: x.Revision,
	}
}

// entryOf returns the entry of a record that the memory has, which is the zero one if it is gone.
func entryOf(s dirty.State) layout.Header {
	if s.Gone {
		return layout.Header{}
	}
	return layout.Header{
		Kind: storage.Kind(s.Kind), Deadline: ttl.Instant(s.Deadline), Indexed: ttl.Instant(s.Indexed),
		Revision: s.Revision, Size: s.Size,
	}
}

// keep notes in the memory what the cell became. The caller holds its stripe, and commits.
func (c *cell) keep(m *dirty.Memory) {
	s := dirty.State{Gone: true}
	if c.exists {
		s = stateOf(c.now)
		s.Whole, s.Value = c.replaced, c.value
	}
	if c.existed {
		s.Filed = int64(c.was.Indexed)
	}
	m.Now().Keep(uint64(c.place), c.name, s, int64(c.add))
}

// record appends a frame to the log and then has keep lay its changes over the tree, where others
// see them. What fits no segment of the log is in the files of the tree when record returns, all of it in
// one step: the frame in its place says nothing. The caller holds its stripes, so nobody reads such
// records before, and databases.mu if the frame is too large.
func (e *Engine) record(frame []byte, keep func(*dirty.Memory, wal.LSN)) error {
	large := len(frame) > e.log.Largest()
	if !large {
		lsn, err := e.append(frame, e.commits.RLocker())
		if err != nil {
			return err
		}
		defer e.commits.RUnlock()
		e.note(len(frame))
		keep(e.memory.Load(), lsn)
		return nil
	}
	lsn, err := e.append(layout.NewFrame(nil), &e.commits)
	if err != nil {
		return err
	}
	e.note(len(frame))
	m := e.memory.Load()
	m.Now().MakeWhole()
	keep(m, lsn)
	e.commits.Unlock()
	return e.checkpointTo(lsn)
}

// note tells those who watch over what is in memory of n bytes more.
func (e *Engine) note(n int) {
	e.room.note(n)
	e.stalls.note(n)
}
