package diskspace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// Config says what a Guard guards.
type Config struct {
	FS       vfs.FS
	Dir      string // of the store
	Quota    int64  // bytes of the store's files, at most; zero means all the disk has
	MemTable int64  // bytes of a table in memory, at most
	Clock    ttl.Clock
	Logger   *slog.Logger
}

// Guard guards the space on the disk for one store. Its methods may be called by several goroutines, but
// for Attach and Begin.
type Guard struct {
	thresholds
	// Compactions decides when Pebble compacts.
	Compactions *Scheduler

	meter
	gate
	reclaimer reclaimer
	state     *machine
	ballast   Ballast
	parts     parts

	clock       ttl.Clock
	logger      *slog.Logger
	over        context.Context       // ends with the store
	waitsToOpen atomic.Bool           // the store waits for space to be opened, and the log says so
	damage      atomic.Pointer[error] // why changes are refused though there is space; nil if they are not
}

// New measures the disk and takes over the ballast of an earlier run. It returns storage.ErrFull if there
// is not even space to open the store. Ctx ends with the store.
func New(ctx context.Context, c Config) (*Guard, error) {
	total := int64(unlimited)
	usage, err := c.FS.GetDiskUsage(c.Dir)
	switch {
	case err == nil:
		total = capped(usage.TotalBytes)
	case !errors.Is(err, vfs.ErrUnsupported):
		return nil, err
	}
	if c.Quota > 0 {
		total = min(total, c.Quota)
	}
	g := newGuard(ctx, c, thresholdsOf(total, c.MemTable))
	g.ballast.none = err != nil
	return g, errors.Join(g.ballast.find(), g.mayOpen())
}

func newGuard(ctx context.Context, c Config, sizes thresholds) *Guard {
	g := &Guard{thresholds: sizes, clock: c.Clock, logger: c.Logger, over: ctx}
	g.Compactions = newScheduler(c.Clock)
	g.state = newMachine(sizes, g.report)
	g.ballast.fs, g.ballast.dir, g.ballast.size = c.FS, c.Dir, sizes.ballastSize
	m, w, r := &g.meter, &g.gate, &g.reclaimer
	m.sizes, m.ballast, m.quota, m.state, m.parts = sizes, &g.ballast, c.Quota, g.state, &g.parts
	w.clock, w.logger, w.over, w.sizes, w.every = c.Clock, c.Logger, ctx, sizes, math.MaxInt64 // until Begin
	w.state, w.parts, w.compactions = g.state, &g.parts, g.Compactions
	r.meter, r.gate, r.compactions, r.logger = m, w, g.Compactions, c.Logger
	return g
}

// openBytes is what opening a store writes beside the MANIFEST.
const openBytes = 256 << 10

// mayOpen returns ErrFull if there is not even space to open the store: Pebble would write
// tables until it works, and never return.
func (g *Guard) mayOpen() error {
	b := &g.ballast
	names, err := b.fs.List(b.dir)
	if err != nil {
		return err
	}
	newest := ""
	for _, name := range names {
		if strings.HasPrefix(name, "MANIFEST-") {
			newest = max(newest, name)
		}
	}
	need := int64(openBytes)
	if newest != "" {
		info, err := b.fs.Stat(b.fs.PathJoin(b.dir, newest))
		if err != nil {
			return err
		}
		need += info.Size()
	}
	need = max(need, g.flushLeaves())
	if left := b.free(); left < need {
		return fmt.Errorf("%w: %d bytes are left, and opening takes %d", storage.ErrFull, left, need)
	}
	return nil
}

// FS returns the file system on which the store writes.
func (g *Guard) FS(files vfs.FS) vfs.FS {
	return retryDelayFS{FS: ballastFS{files, g}, delay: func() {
		if g.parts.attached.Load() {
			_ = g.clock.Sleep(g.over, RetryDelay) // an early end is welcome
		}
	}}
}

// Attach is called when Pebble has opened its part of the store. From then on Pebble repeats what it
// could not write, and is held up before it does.
func (g *Guard) Attach(tree Tree, store Store) {
	g.parts.tree, g.parts.store = tree, store
	g.parts.attached.Store(true)
}

// Begin is called when the store is open. Log is how many bytes its log takes.
func (g *Guard) Begin(log int64) {
	g.parts.open.Store(true)
	g.Look()
	g.gate.every = min(g.memTable, log) / 16
}

// Halt lets no further compaction begin. The caller may hold any lock.
func (g *Guard) Halt() { g.Compactions.Halt() }

// End ends all work in the background: compactions begin no more, and nothing is reclaimed. It may be
// called again, and while others call the other methods.
func (g *Guard) End() {
	g.reclaimer.end()
	g.Compactions.End()
	g.reclaimer.work.Wait()
}

// Tick is called once a second. It reports whether a checkpoint is to be made so that the space of deleted
// records comes back: a deletion that waits in memory gives none back, so on a full disk the tree has to
// get it. While the first level is deep a checkpoint adds to what has to be merged; but it may bring
// just the deletions with which merging fits.
func (g *Guard) Tick() (checkpoint bool) {
	g.Look()
	g.watchDamage()
	g.reclaimer.tick()
	s := g.state.now()
	if s.deep() && s.deepTicks < deepPatience {
		return false
	}
	if s.level == normal || g.disk.Load() < g.CompactionThreshold() || !g.MayFlush() {
		return false
	}
	return g.state.apply(eventCheckpoint, measured{}).unsaved
}

// deepPatience is for how many ticks a deep first level is left alone to be merged.
const deepPatience = 60

// Look measures, and refuses or admits what it then finds. Only Look admits again what was refused, and it
// is called once a second: so that neither happens more often.
func (g *Guard) Look() { g.look() }

// report logs that changes are refused, or no longer.
func (g *Guard) report(before, after level) {
	switch {
	case before == normal:
		g.log(slog.LevelWarn, "no room for new sessions: they are refused until there is")
	case after == normal:
		g.log(slog.LevelInfo, "room for new sessions again")
	}
}

func (g *Guard) log(level slog.Level, msg string) {
	g.logger.Log(g.over, level, msg, "available", g.ballast.available(), "used", g.used.Load(),
		"max_disk", g.quota, "kept", g.headroom, "reserve", g.ballast.Held())
}

// Disk returns how things stand on the disk.
func (g *Guard) Disk() storage.Disk {
	g.measuring.Lock()
	defer g.measuring.Unlock()
	if g.parts.store.Usable() == nil {
		g.measureLocked()
	}
	return storage.Disk{
		Full:      g.state.now().level > normal,
		Available: g.ballast.available(),
		Used:      g.used.Load(),
		Quota:     g.quota,
	}
}

// Ballast returns the ballast.
func (g *Guard) Ballast() *Ballast { return &g.ballast }
