package pebble

import (
	"github.com/sessiond/sessiond/storage"

	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
)

// deepPatience is for how many looks a deep first level is left alone to be merged.
const deepPatience = 60

// watchRoom looks at the room. When there is none, it has a checkpoint bring the deletions to the tree
// that wait in memory, for only then is their space given back. While the first level is deep that
// adds to what has to be merged; but it may be just the deletions that make merging fit.
func (e *Engine) watchRoom() {
	r := e.room
	r.look()
	e.squeeze()
	if !r.deep() {
		r.patience.Store(0)
	} else if r.patience.Add(1) < deepPatience {
		return
	}
	if r.level.Load() == 0 || r.disk.Load() < r.floor() || !e.mayFlush() || !r.ended.Swap(false) {
		return
	}
	r.patience.Store(0)
	e.checkpoints.ask()
}

// mayFlush reports whether Pebble would begin a flush at once. Else it holds up who asks until it can:
// on a full disk until somebody makes room.
func (e *Engine) mayFlush() bool {
	w := e.written()
	return !e.room.stuck.Load() && w.pending <= e.room.memTable*memTables/2 && w.depth < maxDepth-1
}

// written is what Pebble has written and what it has yet to write.
type written struct {
	used     int64 // bytes of its files
	dirty    int64 // bytes that the tree has not followed
	pending  int64 // bytes of the tables in memory, at most
	waiting  int64 // how many of them wait to be written
	depth    int64 // how many tables of the first level lie above each other
	unmerged int64 // bytes of the first level
	settled  bool  // no table in memory waits to be written
	aside    bool  // Pebble leaves tables alone because merging them did not fit
}

func (e *Engine) written() written {
	m := e.db.Metrics()
	return written{
		used:     int64(m.DiskSpaceUsage()) + e.log.Size(),
		dirty:    e.memory.Load().Bytes(),
		pending:  int64(m.MemTable.Size),
		waiting:  m.MemTable.Count - 1,
		depth:    int64(m.Levels[0].Sublevels),
		unmerged: m.Levels[0].TablesSize,
		settled:  m.MemTable.Count == 1,
		aside:    m.Compact.NumProblemSpans > 0,
	}
}

// Disk implements storage.DiskReporter.
func (e *Engine) Disk() storage.Disk {
	r := e.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if !e.closed.Load() {
		r.measure()
	}
	return storage.Disk{
		Full:      r.level.Load() > 0,
		Available: r.reserve.available(),
		Used:      r.used.Load(),
		Quota:     r.quota,
		Exposed:   e.home.fs == folder.SystemFS && folder.IsExposed(e.home.dir),
	}
}
