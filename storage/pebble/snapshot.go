package pebble

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/logfile"
	"github.com/sessiond/sessiond/ttl"
)

// home is where a store lives.
type home struct {
	fs      vfs.FS
	dir     string
	backups chan struct{} // holds one element while a backup is made
}

func newHome(fs vfs.FS, dir string) home {
	return home{fs: fs, dir: dir, backups: make(chan struct{}, 1)}
}

// clearStage removes what an interrupted backup has left: it would hold on to the space of
// tables that the store has dropped since.
func (h *home) clearStage() error {
	return folder.RemoveStore(h.fs, h.fs.PathJoin(h.dir, layout.StageName))
}

// Snapshot is the right to take the store as it stands at one instant, for a backup. One caller has it
// at a time.
type Snapshot struct {
	FS      vfs.FS        // where the store is
	Dir     string        // its folder
	Made    ttl.Instant   // when the snapshot was begun
	Store   uint64        // tells stores apart
	Records map[int]int64 // sizes of the databases that are not empty
	Warn    func(msg string, args ...any)

	e *Engine
}

// Snapshot waits for its turn, or until ctx ends, and begins a snapshot.
func (e *Engine) Snapshot(ctx context.Context) (*Snapshot, error) {
	if err := e.ready(ctx); err != nil {
		return nil, err
	}
	select {
	case e.home.backups <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return &Snapshot{
		FS: e.home.fs, Dir: e.home.dir, Made: e.clock.Now(), Store: e.seed.Identity(), Records: e.sizes(), Warn: e.logger.Warn, e: e,
	}, nil
}

// Close removes what Stage has made, and ends the snapshot.
func (s *Snapshot) Close() error {
	defer func() { <-s.e.home.backups }()
	return s.e.home.clearStage()
}

// Stage makes links to the store's files, and copies of those that will change, in a
// folder beside them. Links take no time, so the store is soon free to drop old files
// again, however long the rest of the backup takes. The log of the copy ends after everything
// that was acknowledged when Stage was called, and after everything that its tables have:
// meanwhile nothing is brought to them.
func (s *Snapshot) Stage(ctx context.Context) (stage string, err error) {
	e := s.e
	if err := e.home.clearStage(); err != nil {
		return "", err
	}
	if err := e.checkpoints.take(ctx); err != nil {
		return "", err
	}
	defer e.checkpoints.let()
	if err := e.followOnce(ctx); err != nil && !errors.Is(err, errUnflushed) { // it makes the log of the copy short
		return "", err
	}
	from, to := e.followed(), e.log.End()
	free, err := e.log.Hold(from)
	if err != nil {
		return "", err
	}
	defer free()
	stage = e.home.fs.PathJoin(e.home.dir, layout.StageName)
	if err := errors.Join(e.db.Checkpoint(stage), e.failed()); err != nil {
		return stage, err
	}
	if err := e.log.Write(); err != nil {
		return stage, e.logError(ctx, err)
	}
	return stage, e.log.CopyTo(logfile.FS{FS: e.home.fs}, stage, from, to)
}

// sizes returns the number of records of each database that has some.
func (e *Engine) sizes() map[int]int64 {
	e.databases.mu.RLock()
	defer e.databases.mu.RUnlock()
	databases := e.databases.spaces.Databases()
	e.counters.mu.Lock()
	defer e.counters.mu.Unlock()
	sizes := map[int]int64{}
	for space, count := range e.counters.of {
		if count.Records > 0 {
			sizes[int(databases.Of(space))] = count.Records
		}
	}
	return sizes
}
