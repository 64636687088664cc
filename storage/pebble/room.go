package pebble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// room knows how many bytes may still be written, so that a commit is refused before a
// write fails. The reserve counts as room: giving it back changes nothing.
//
// Each demand on it stops at a line. From the top:
//
//	keep and reserve             what makes the store larger
//	half of keep and reserve     later deadlines
//	a quarter of keep and reserve    compactions
//	a quarter of the reserve     deletions, flush, swap, earlier deadlines
//	nothing                      tables in memory that are written out: see reserveFS
//
// The log takes no part in it: it has its room before it is written, and grows only while there is
// room for what makes the store larger.
//
// A quota is a second, smaller disk to who grows, who extends and who compacts. The others do
// not stop at it: what is kept is there to hold them.
type room struct {
	geometry
	reserve reserve
	quota   int64 // zero means none
	clock   ttl.Clock
	logger  *slog.Logger
	written func() written // see Engine.written; nil while Pebble is not open
	stalled func()         // is told that stuck is set; nil while Pebble is not open

	over context.Context // ends with the store

	left  atomic.Int64 // of the disk and the quota, as of the last look, less what was granted
	disk  atomic.Int64 // of the disk alone, less what was written since, as far as that is counted
	used  atomic.Int64 // bytes of the store's files, as of the last look
	level atomic.Int32 // how many demands are refused: only look lowers it
	ended atomic.Bool  // what was applied, deletions perhaps, waits in memory while full

	open  atomic.Bool
	waits atomic.Bool // to open, for room, and the log says so
	stuck atomic.Bool // a table in memory could not be written out

	cramped  atomic.Bool  // a compaction did not fit
	depth    atomic.Int64 // of the first level, at most
	unmerged atomic.Int64 // bytes of the first level, as of the last look
	aside    atomic.Bool  // see written, as of the last look
	patience atomic.Int64 // looks that found the first level deep, since the last flush

	squeezer squeezer

	mu sync.Mutex // held while measuring; a caller may hold stripes, and must none of Pebble's locks
}

// demand says what a commit does, in the order in which it is refused.
type demand int

const (
	grows demand = iota
	extends
	ends
	demands
)

// boundless returns room without an end.
func boundless() *room {
	r := &room{over: context.Background()}
	r.left.Store(unlimited)
	return r
}

// newRoom measures the disk under dir and fits opts to it.
func newRoom(dir string, opts *Options) (*room, error) {
	total := int64(unlimited)
	usage, err := opts.FS.GetDiskUsage(dir)
	switch {
	case err == nil:
		total = capped(usage.TotalBytes)
	case !errors.Is(err, vfs.ErrUnsupported):
		return nil, err
	}
	unknown := err != nil
	if opts.MaxDisk > 0 {
		total = min(total, opts.MaxDisk)
	}
	r := &room{
		geometry: geometryOf(total, int64(opts.MemTableSize)),
		quota:    opts.MaxDisk,
		clock:    opts.Clock,
		logger:   opts.Logger,
	}
	r.over = context.Background() // until it has begun
	r.reserve.fs, r.reserve.dir = opts.FS, dir
	r.reserve.size, r.reserve.none = r.size, unknown
	opts.MemTableSize = uint64(r.memTable)
	return r, errors.Join(r.reserve.find(), r.fits())
}

// startBytes is what opening a store writes beside the manifest.
const startBytes = 256 << 10

// fits returns ErrFull if there is not even room to open the store: Pebble would write
// tables until it works, and never return.
func (r *room) fits() error {
	if r.reserve.fs == nil {
		return nil // boundless
	}
	names, err := r.reserve.fs.List(r.reserve.dir)
	if err != nil {
		return err
	}
	newest := ""
	for _, name := range names {
		if strings.HasPrefix(name, "MANIFEST-") {
			newest = max(newest, name)
		}
	}
	need := int64(startBytes)
	if newest != "" {
		info, err := r.reserve.fs.Stat(r.reserve.fs.PathJoin(r.reserve.dir, newest))
		if err != nil {
			return err
		}
		need += info.Size()
	}
	need = max(need, r.spared())
	if left := r.reserve.room(); left < need {
		return fmt.Errorf("%w: %d bytes are left, and opening takes %d", storage.ErrFull, left, need)
	}
	return nil
}

func capped(n uint64) int64 { return int64(min(n, unlimited)) }

// take asks whether a commit of n bytes may be made. Granted means that nothing has to be
// done: what was taken counts until the next look.
func (r *room) take(d demand, n int) error {
	if r.refuses(d) {
		return storage.ErrFull
	}
	if d == ends {
		if r.level.Load() > 0 && !r.endsFit(n) {
			r.refuse(ends)
			return storage.ErrFull
		}
		return nil
	}
	need := 2 * int64(n) // once in a table and, as long as it grows, once in the log
	if r.left.Add(-need) >= r.bar(d) {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.measure()
	if r.left.Add(-need) >= r.bar(d) {
		return nil
	}
	if r.left.Add(need) < r.bar(d)-r.pinch()+r.slack(d) {
		r.refuse(d)
	}
	return storage.ErrFull // perhaps there is room for less
}

// endsFit reports whether n bytes of what ends sessions fit. While the disk is full there may
// be nothing but the reserve, so they are counted: many can come between two looks.
func (r *room) endsFit(n int) bool {
	fit := func() bool { return r.disk.Load()-int64(n) >= r.bar(ends) }
	if fit() {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.measure()
	return fit()
}

// bar is what has to be left for a demand to be met. To what is kept comes the size of the
// first level: Pebble may merge all of it at once.
func (r *room) bar(d demand) int64 {
	bar := r.line(d) + r.pinch()
	if d != ends {
		bar += r.unmerged.Load()
	}
	return bar
}

func (r *room) refuses(d demand) bool { return r.level.Load() > int32(d) }

// bare reports whether so little of the reserve is left that the next edit of the manifest
// might not find room, if somebody else takes the rest of the disk before the next look.
func (r *room) bare() bool { return !r.reserve.none && r.reserve.held.Load() < r.line(ends) }

// crowds reports whether tables pile up in the first level because compactions do not fit.
func (r *room) crowds() bool { return r.cramped.Load() && r.deep() }

// deep reports whether the first level has so many tables above each other that it is better
// to merge them than to add one.
func (r *room) deep() bool { return r.depth.Load() >= maxDepth/2 }

// stall is told that a table in memory cannot be written out.
func (r *room) stall() {
	r.stuck.Store(true)
	r.refuse(extends)
	if r.open.Load() && r.stalled != nil {
		r.stalled()
	}
}

// note is told of every commit of n bytes.
func (r *room) note(n int) {
	if r.level.Load() == 0 {
		return
	}
	r.ended.Store(true)
	r.disk.Add(-int64(n))
	if !r.endsFit(0) { // the sweeper does not ask
		r.refuse(ends)
	}
}

// takeTable asks whether a compaction may write n bytes more.
func (r *room) takeTable(n int) bool {
	if r.tableFits(n) {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.measure()
	return r.tableFits(n)
}

func (r *room) tableFits(n int) bool {
	disk, left := r.disk.Add(-int64(n)), r.left.Add(-int64(n))
	return r.forTables(disk, left) >= 0
}

// forTables returns what compactions may write.
func (r *room) forTables(disk, left int64) int64 {
	if r.quota > 0 {
		disk = min(disk, left)
	}
	return disk - r.floor()
}

// measure sets what is left. The lock is held, and none of Pebble's.
func (r *room) measure() {
	left := r.reserve.room()
	r.disk.Store(left)
	if r.written != nil {
		w := r.written()
		r.depth.Store(w.depth)
		r.unmerged.Store(w.unmerged)
		r.aside.Store(w.aside)
		if w.settled { // Pebble calls it an error if what it wrote out was empty
			r.stuck.Store(false)
		}
		r.used.Store(w.used + r.reserve.held.Load())
		left -= w.dirty
		if r.quota > 0 {
			left = min(left, r.quota-w.used-w.pending-w.dirty)
		}
	}
	r.left.Store(left)
}

// refuse raises the level so that d is refused until look finds room for it.
func (r *room) refuse(d demand) {
	for {
		old := r.level.Load()
		if old > int32(d) {
			return
		}
		if r.level.CompareAndSwap(old, int32(d)+1) {
			if old == 0 {
				r.ended.Store(true) // perhaps some was, just before
				r.log(slog.LevelWarn, "no room for new sessions: they are refused until there is")
			}
			return
		}
	}
}

// begin is told that the store is open. Stalled is told when no table can be written, with locks of
// Pebble's held.
func (r *room) begin(written func() written, stalled func()) {
	r.mu.Lock()
	r.written, r.stalled = written, stalled
	r.mu.Unlock()
	r.open.Store(true)
	r.look()
}

// look measures, and refuses or admits what it then finds. It is called once a second, and
// only it ends what refuse began: so that neither happens more often.
func (r *room) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	whole := r.reserve.make()
	r.measure()
	level := int32(0)
	for d := range demands {
		need := r.bar(d)
		if r.refuses(d) {
			need += r.slack(d)
		}
		if r.roomFor(d) < need {
			level = int32(d) + 1
		}
	}
	switch {
	case r.bare():
		level = int32(ends) + 1
	case r.stuck.Load() || r.crowds():
		level = max(level, int32(extends)+1)
	case level == 0 && !whole:
		level = int32(grows) + 1
	}
	old := r.level.Load()
	if level > old {
		r.refuse(demand(level - 1))
		return
	}
	r.level.Store(level)
	if level == 0 && old > 0 {
		r.log(slog.LevelInfo, "room for new sessions again")
	}
}

func (r *room) roomFor(d demand) int64 {
	if d == ends {
		return r.disk.Load()
	}
	return r.left.Load()
}

func (r *room) log(level slog.Level, msg string) {
	r.logger.Log(r.over, level, msg, "available", r.reserve.available(), "used", r.used.Load(),
		"max_disk", r.quota, "kept", r.keep, "reserve", r.reserve.held.Load())
}

// fit fits Pebble's options, which have an event listener, to the disk.
func (r *room) fit(p *pebbledb.Options) {
	r.shape(p)
	l := p.EventListener
	failed, compacted := l.BackgroundError, l.CompactionEnd
	l.BackgroundError = func(err error) {
		if !isFull(err) { // refuse tells of that, once
			failed(err)
		}
	}
	l.CompactionEnd = func(info pebbledb.CompactionInfo) {
		if isFull(info.Err) {
			return // it has rested already
		}
		if info.Err == nil && info.Reason != "move" { // a move writes nothing
			r.cramped.Store(false)
		}
		compacted(info)
	}
	l.FlushEnd = func(info pebbledb.FlushInfo) {
		if info.Err != nil {
			return
		}
		r.stuck.Store(false)
		if r.depth.Add(1); r.crowds() { // the next look may come too late
			r.refuse(extends)
		}
	}
}

// fitsMore reports whether there is room for a file of size bytes that is for those who add records.
func (r *room) fitsMore(size int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.measure()
	return r.left.Load()-size >= r.bar(grows)
}
