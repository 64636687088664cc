package diskspace

import "github.com/sessiond/sessiond/storage"

// Admit returns nil if a change of n bytes may be made. It returns storage.ErrFull if there is no space
// for it, and what is damaged if tables cannot be merged for that. If it returns nil nothing has to be
// done: the bytes count until the disk is measured again.
func (g *Guard) Admit(c Class, n int) error {
	if !g.admit(c, n) {
		return storage.ErrFull
	}
	return g.Damage()
}

// Refuses reports whether a class is refused for want of space.
func (g *Guard) Refuses(c Class) bool { return g.state.current.Load().level.refuses(c) }

// Wrote is called after each frame of n bytes was appended to the log.
func (g *Guard) Wrote(n int) {
	g.Grew(n)
	if g.state.current.Load().level == normal {
		return
	}
	g.state.apply(eventApplied, measured{})
	g.disk.Add(-int64(n))
	if !g.fitsDelete(0) { // the sweeper does not ask
		g.state.refuse(ClassDelete)
	}
}

// Grew is called after n bytes came to the memory that stand in no frame.
func (g *Guard) Grew(n int) { g.gate.written.Add(int64(n)) }

// LogFull is called when the log has no space for a frame. It returns storage.ErrFull, and refuses
// everything, if no checkpoint can free some of the log because tables cannot be written.
func (g *Guard) LogFull() error {
	if !g.state.now().cannotWrite() {
		return nil
	}
	g.state.refuse(ClassDelete)
	return storage.ErrFull
}

// BlockFlush is called when a table in memory cannot be written out for want of space. The caller may
// hold any lock.
func (g *Guard) BlockFlush() {
	g.state.apply(eventFlushFull, measured{})
	g.Wake()
}

// FlushBlocked reports whether a table in memory cannot be written out for want of space.
func (g *Guard) FlushBlocked() bool { return g.state.current.Load().flushBlocked }

// Damage returns why changes are refused though there is space: damage keeps tables from being merged,
// and there are too many of them. It returns nil if changes are not refused for that.
func (g *Guard) Damage() error {
	if err := g.damage.Load(); err != nil {
		return *err
	}
	return nil
}

// Crowded is how many tables may lie above each other while compactions fail. Beyond it
// changes are refused, for at MaxDepth Pebble would let them wait, and reads behind them.
const Crowded = 8

func (g *Guard) watchDamage() {
	cause := g.Compactions.Damage()
	if cause == nil {
		return
	}
	if g.parts.tree.Metrics().Levels[0].Sublevels < Crowded {
		g.damage.Store(nil)
		return
	}
	if g.damage.Swap(&cause) == nil {
		g.logger.Error("changes are refused, sessions can be read", "err", cause)
	}
}
