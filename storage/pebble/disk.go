package pebble

import "github.com/sessiond/sessiond/storage"

// watchRoom looks at the room, and has Pebble write out what was removed while there was
// none: only then can compactions give the space back.
func (e *Engine) watchRoom() {
	r := e.room
	r.look()
	if r.level.Load() == 0 || r.stuck.Load() || r.deep() || r.disk.Load() < r.floor() || !r.ended.Swap(false) {
		return
	}
	if _, err := e.db.AsyncFlush(); err != nil {
		e.logger.Error("write out what was removed", "err", err)
	}
}

// written is what Pebble has written and what it has yet to write.
type written struct {
	used     int64 // bytes of its files
	pending  int64 // bytes of the tables in memory, at most
	depth    int64 // how many tables of the first level lie above each other
	unmerged int64 // bytes of the first level
}

func (e *Engine) written() written {
	m := e.db.Metrics()
	// The log that is being written counts as it was when it was opened.
	open := max(m.WAL.Size, m.WAL.PhysicalSize) - m.WAL.PhysicalSize
	return written{
		used:     int64(m.DiskSpaceUsage() + open),
		pending:  int64(m.MemTable.Size),
		depth:    int64(m.Levels[0].Sublevels),
		unmerged: m.Levels[0].TablesSize,
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
	}
}
