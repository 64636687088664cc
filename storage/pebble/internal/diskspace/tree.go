package diskspace

import (
	"context"
	"sync/atomic"

	pebbledb "github.com/cockroachdb/pebble/v2"
)

// Tree is what a Guard needs of a *pebble.DB.
type Tree interface {
	Metrics() *pebbledb.Metrics
	SSTables(...pebbledb.SSTablesOption) ([][]pebbledb.SSTableInfo, error)
	Compact(ctx context.Context, start, end []byte, parallelize bool) error
	AsyncFlush() (<-chan struct{}, error)
}

var _ Tree = (*pebbledb.DB)(nil)

// Store is what a Guard needs of the store around the tree. No method waits.
type Store interface {
	// Usable returns nil as long as the store takes calls.
	Usable() error
	// Failed returns nil, or why the store has failed.
	Failed() error
	// Held returns the bytes of the log's files, and those in memory that the tree does not have.
	Held() (log, unsaved int64)
	// Backlog reports whether so much of the log or of the memory waits for a checkpoint that one is
	// due, and whether changes have to wait until there was one.
	Backlog() (due, full bool)
	// WantCheckpoint asks for a checkpoint if one would free some of the log or of the memory.
	WantCheckpoint()
}

// treeSize is what Pebble has written and what it has yet to write.
type treeSize struct {
	used     int64 // bytes of its files
	pending  int64 // bytes of the tables in memory, at most
	waiting  int64 // how many of them wait to be written
	depth    int64 // how many tables of the first level lie above each other
	unmerged int64 // bytes of the first level
	flushed  bool  // no table in memory waits to be written
	skipped  bool  // Pebble leaves tables alone because merging them failed
}

// parts are the tree and the store around it.
type parts struct {
	tree     Tree // nil until Attach
	store    Store
	attached atomic.Bool
	open     atomic.Bool // Begin was called
}

func (p *parts) treeSize() treeSize {
	m := p.tree.Metrics()
	return treeSize{
		used:     int64(m.DiskSpaceUsage()),
		pending:  int64(m.MemTable.Size),
		waiting:  m.MemTable.Count - 1,
		depth:    int64(m.Levels[0].Sublevels),
		unmerged: m.Levels[0].TablesSize,
		flushed:  m.MemTable.Count == 1,
		skipped:  m.Compact.NumProblemSpans > 0,
	}
}

// Shape fits Pebble's options, which have an event listener, to the disk. It has the guard decide when
// Pebble compacts, and hear how flushes and compactions end.
func (g *Guard) Shape(p *pebbledb.Options) {
	g.shape(p)
	p.Experimental.CompactionScheduler = g.Compactions
	l := p.EventListener
	failed := l.BackgroundError
	l.BackgroundError = func(err error) {
		if !IsFull(err) { // report says that, once
			failed(err)
		}
	}
	l.FlushEnd = g.flushEnded
	l.CompactionEnd = g.compactionEnded
}

// flushEnded is called by Pebble with its locks held.
func (g *Guard) flushEnded(info pebbledb.FlushInfo) {
	if info.Err == nil {
		g.state.apply(eventFlushed, measured{})
	}
	g.gate.flushFailed.Store(info.Err != nil)
	g.Wake()
}

// compactionEnded is called by Pebble with its locks held. A compaction that found no space needs no
// rest: the scheduler hears nothing of it.
func (g *Guard) compactionEnded(info pebbledb.CompactionInfo) {
	if !IsFull(info.Err) {
		if info.Err == nil && info.Reason != "move" { // a move writes nothing
			g.state.apply(eventCompacted, measured{})
		}
		g.Compactions.Ended(info.Err)
	}
	g.Wake()
}
