package pebble

import pebbledb "github.com/cockroachdb/pebble/v2"

// geometry is how the sizes of a store follow from the disk, or the quota. Pebble's tables
// must be small enough that what one compaction writes fits into keep, or else the space of
// deleted records could not be won back on a full disk. That is about a dozen of the
// largest tables; or, out of the first level, as many of the smallest as it is deep, and
// what they overlap.
type geometry struct {
	keep     int64 // kept free
	size     int64 // of the reserve
	memTable int64
	first    int64 // of a table of the first level
	table    int64 // of the largest table
	base     int64 // of the level below the first
}

const (
	minKeptMemTable = 1 << 20
	maxKeep         = 1 << 30
	minMaxDisk      = 32 << 20
	maxDepth        = 12 // of the first level: Pebble's own limit
	unlimited       = 1 << 62
)

// geometryOf returns the sizes for total bytes and a table in memory of at most memTable.
func geometryOf(total, memTable int64) geometry {
	memTable = min(memTable, max(total/128, minKeptMemTable))
	keep := min(max(total/16, 8*memTable), maxKeep)
	return geometry{
		keep:     keep,
		size:     2 * memTable,
		memTable: memTable,
		first:    min(keep/128, 2<<20),
		table:    keep / 16,
		base:     min(keep/4, 64<<20),
	}
}

// line is the room below which a demand is refused.
func (g geometry) line(d demand) int64 {
	switch d {
	case grows:
		return g.keep + g.size
	case extends:
		return g.keep/2 + g.size
	default:
		return g.size / reservePieces * 2
	}
}

// pinch is so little above a line that the disk would have to be measured for every few
// commits.
func (g geometry) pinch() int64 { return g.memTable / 16 }

// slack is how much more room there must be for a demand that was refused to be met again.
func (g geometry) slack(d demand) int64 {
	if d == ends {
		return g.memTable / 4
	}
	return g.keep / 8
}

// spared is what tables in memory that are written out leave of the reserve: deletions have a
// piece of it before they are refused.
func (g geometry) spared() int64 { return g.size / reservePieces * 3 }

// floor is the room below which compactions stop.
func (g geometry) floor() int64 { return g.size + g.keep/4 }

// shape fits Pebble's options to the disk.
func (g geometry) shape(p *pebbledb.Options) {
	p.LBaseMaxBytes = g.base
	p.TargetFileSizes[0] = g.first
	for i := 1; i < len(p.TargetFileSizes); i++ {
		p.TargetFileSizes[i] = min(2<<20<<i, g.table)
	}
}
