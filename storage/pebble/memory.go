package pebble

import (
	"github.com/sessiond/sessiond/storage/pebble/internal/dirty"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
)

// keep notes in the memory what the cell became. The caller holds its stripe, and commits.
func (c *cell) keep(m *dirty.Memory) {
	s := dirty.State{Gone: true}
	if c.exists {
		s = tree.StateOf(c.now)
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
		e.guard.Wrote(len(frame))
		keep(e.memory.Load(), lsn)
		return nil
	}
	lsn, err := e.append(layout.NewFrame(nil), &e.commits)
	if err != nil {
		return err
	}
	e.guard.Wrote(len(frame))
	m := e.memory.Load()
	m.Now().MakeWhole()
	keep(m, lsn)
	e.commits.Unlock()
	return e.checkpointTo(lsn)
}
