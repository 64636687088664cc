package diskspace

import (
	"sync"
	"sync/atomic"
)

// meter knows how many bytes may still be written. What was admitted counts from then on, until the disk
// is measured again.
type meter struct {
	sizes   thresholds
	ballast *Ballast
	quota   int64 // zero means none
	state   *machine
	parts   *parts

	left     atomic.Int64 // free bytes of the disk and the quota when they were measured, less what was admitted
	disk     atomic.Int64 // free bytes of the disk alone, less what was written since, as far as that is counted
	used     atomic.Int64 // bytes of the store's files when they were measured
	unmerged atomic.Int64 // bytes of the first level when it was measured
	skipped  atomic.Bool  // Pebble left tables alone because merging them failed, when that was measured

	measuring sync.Mutex // held while measuring; a caller may hold stripes, and must hold none of Pebble's locks
}

// measureLocked sets what is left.
func (m *meter) measureLocked() {
	left := m.ballast.free()
	m.disk.Store(left)
	if m.parts.open.Load() {
		u := m.parts.treeSize()
		log, unsaved := m.parts.store.Held()
		m.unmerged.Store(u.unmerged)
		m.skipped.Store(u.skipped)
		m.state.apply(eventMeasured, measured{depth: u.depth, flushed: u.flushed})
		m.used.Store(u.used + log + m.ballast.Held())
		left -= unsaved
		if m.quota > 0 {
			left = min(left, m.quota-u.used-log-u.pending-unsaved)
		}
	}
	m.left.Store(left)
}

// look refills the ballast, measures, and has the state follow from what it finds.
func (m *meter) look() {
	m.measuring.Lock()
	defer m.measuring.Unlock()
	whole := m.ballast.refill()
	m.measureLocked()
	m.state.apply(eventTick, measured{
		disk: m.disk.Load(), left: m.left.Load(), unmerged: m.unmerged.Load(),
		ballastWhole: whole, ballastLow: m.ballastLow(),
	})
}

// Required returns the free bytes that a class needs now.
func (m *meter) Required(c Class) int64 { return m.sizes.required(c, m.unmerged.Load()) }

// admit reports whether a change of n bytes may be made.
func (m *meter) admit(c Class, n int) bool {
	l := m.state.current.Load().level
	if l.refuses(c) {
		return false
	}
	if c == ClassDelete {
		if l > normal && !m.fitsDelete(n) {
			m.state.refuse(ClassDelete)
			return false
		}
		return true
	}
	need := 2 * int64(n) // once in a table and, as long as the log grows, once in the log
	if m.left.Add(-need) >= m.Required(c) {
		return true
	}
	m.measuring.Lock()
	defer m.measuring.Unlock()
	m.measureLocked()
	if m.left.Add(-need) >= m.Required(c) {
		return true
	}
	if m.left.Add(need) < m.Required(c)-m.sizes.Margin()+m.sizes.Hysteresis(c) {
		m.state.refuse(c)
	}
	return false // perhaps there is space for less
}

// fitsDelete reports whether n bytes of deletions fit. While the disk is full there may
// be nothing but the ballast, so they are counted: many can come between two ticks.
func (m *meter) fitsDelete(n int) bool {
	fits := func() bool { return m.disk.Load()-int64(n) >= m.Required(ClassDelete) }
	if fits() {
		return true
	}
	m.measuring.Lock()
	defer m.measuring.Unlock()
	m.measureLocked()
	return fits()
}

// FitsLog reports whether the log may have another file of n bytes. The log takes no part in the rest: it
// has its space before it is written, and grows only while there is space for inserts.
func (m *meter) FitsLog(n int64) bool {
	m.measuring.Lock()
	defer m.measuring.Unlock()
	m.measureLocked()
	return m.left.Load()-n >= m.Required(ClassInsert)
}

// admitTable reports whether a compaction may write n bytes more.
func (m *meter) admitTable(n int) bool {
	if m.tableFits(n) {
		return true
	}
	m.measuring.Lock()
	defer m.measuring.Unlock()
	m.measureLocked()
	return m.tableFits(n)
}

func (m *meter) tableFits(n int) bool {
	disk, left := m.disk.Add(-int64(n)), m.left.Add(-int64(n))
	return m.forCompactions(disk, left) >= 0
}

// forCompactions returns what compactions may write.
func (m *meter) forCompactions(disk, left int64) int64 {
	if m.quota > 0 {
		disk = min(disk, left)
	}
	return disk - m.sizes.CompactionThreshold()
}

// release releases a piece of the ballast for the next write, if at least leave bytes of it remain.
func (m *meter) release(leave int64) bool {
	if !m.ballast.Release(leave) {
		return false
	}
	m.disk.Store(m.ballast.free()) // it was more when it was measured
	m.state.apply(eventBallastReleased, measured{ballastLow: m.ballastLow()})
	return true
}

// ballastLow reports whether so little of the ballast is left that the next edit of the MANIFEST
// might not find space, if somebody else takes the rest of the disk before the next tick.
func (m *meter) ballastLow() bool {
	return !m.ballast.none && m.ballast.Held() < m.sizes.Threshold(ClassDelete)
}
