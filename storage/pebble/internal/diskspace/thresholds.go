package diskspace

import pebbledb "github.com/cockroachdb/pebble/v2"

// Class says what a change does to the disk. The classes are in the order in which they are refused.
type Class int

const (
	// ClassInsert makes the store larger: a new record, or another value.
	ClassInsert Class = iota
	// ClassExtend moves a deadline to a later time, or takes it away.
	ClassExtend
	// ClassDelete ends sessions, or is as small as that: deletions, earlier deadlines, flush, swap.
	ClassDelete
	classes
)

// thresholds is how the sizes of a store follow from the disk, or from the quota. Pebble's tables
// must be so small that what one compaction writes fits into headroom, or else the space of
// deleted records could not be won back on a full disk. That is about a dozen of the
// largest tables; or, out of the first level, as many of the smallest as it is deep, and
// what they overlap.
type thresholds struct {
	headroom    int64 // kept free
	ballastSize int64 // of the ballast when it is whole
	memTable    int64 // of a table in memory
	first       int64 // of a table of the first level
	table       int64 // of the largest table
	base        int64 // of the level below the first
}

const (
	// MinQuota is the smallest quota.
	MinQuota = 32 << 20
	// MaxDepth is how many tables of the first level may lie above each other: beyond that Pebble
	// makes everybody wait who writes to it.
	MaxDepth = 12
	// MemTables is how many tables Pebble may have in memory before it makes everybody wait.
	MemTables = 4

	minKeptMemTable = 1 << 20
	maxHeadroom     = 1 << 30
	unlimited       = 1 << 62
)

// thresholdsOf returns the sizes for total bytes and a table in memory of at most memTable.
func thresholdsOf(total, memTable int64) thresholds {
	memTable = min(memTable, max(total/128, minKeptMemTable))
	headroom := min(max(total/16, 8*memTable), maxHeadroom)
	return thresholds{
		headroom:    headroom,
		ballastSize: 2 * memTable,
		memTable:    memTable,
		first:       min(headroom/128, 2<<20),
		table:       headroom / 16,
		base:        min(headroom/4, 64<<20),
	}
}

// MemTable returns how many bytes a table in memory has.
func (t thresholds) MemTable() int64 { return t.memTable }

// Threshold returns the free bytes below which a class is refused.
func (t thresholds) Threshold(c Class) int64 {
	switch c {
	case ClassInsert:
		return t.headroom + t.ballastSize
	case ClassExtend:
		return t.headroom/2 + t.ballastSize
	default:
		return t.ballastSize / BallastPieces * 2
	}
}

// Margin returns what comes to each threshold, for closer to it the disk would have to be measured
// for every few commits.
func (t thresholds) Margin() int64 { return t.memTable / 16 }

// Hysteresis returns how many more bytes have to be free before a class that was refused is admitted
// again.
func (t thresholds) Hysteresis(c Class) int64 {
	if c == ClassDelete {
		return t.memTable / 4
	}
	return t.headroom / 8
}

// CompactionThreshold returns the free bytes below which compactions stop.
func (t thresholds) CompactionThreshold() int64 { return t.ballastSize + t.headroom/4 }

// flushLeaves is what a flush leaves of the ballast: deletions may use one piece of it before they
// are refused.
func (t thresholds) flushLeaves() int64 { return t.ballastSize / BallastPieces * 3 }

// required returns the free bytes that a class needs. The size of the first level comes on top of what
// inserts and extensions leave, because Pebble may merge all of it at once.
func (t thresholds) required(c Class, unmerged int64) int64 {
	n := t.Threshold(c) + t.Margin()
	if c != ClassDelete {
		n += unmerged
	}
	return n
}

// shape fits Pebble's sizes to the disk.
func (t thresholds) shape(p *pebbledb.Options) {
	p.LBaseMaxBytes = t.base
	p.TargetFileSizes[0] = t.first
	for i := 1; i < len(p.TargetFileSizes); i++ {
		p.TargetFileSizes[i] = min(2<<20<<i, t.table)
	}
}
