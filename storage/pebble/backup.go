package pebble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/ttl"
)

// BackupReport describes a copy of a store.
type BackupReport struct {
	// Made is the instant of the copy. Every change that was acknowledged before is in it,
	// and perhaps a few later ones, each with all that came before.
	Made ttl.Instant
	// Records holds the sizes of the databases that are not empty: of the copy if Restore
	// tells them, of the store when the copying began if Backup does.
	Records map[int]int64
	// Bytes is the size of the copy, and Copied how many of them had to be written. The
	// rest is shared with the store or with the copy before.
	Bytes, Copied int64
}

// BackupOptions changes how Backup works. The zero value is ready to use.
type BackupOptions struct {
	// Progress is told how many bytes of how many the copy has, shared ones included, by one
	// goroutine. At the end both are equal. Nil means nobody.
	Progress func(done, total int64)
}

// Backup copies the store, as it stands at one instant, into the folder dir. The store goes
// on working. A copy that is there already is replaced when the new one is complete and on
// stable storage, and not before, whatever happens; what has not changed since is not
// copied again. Where the file system allows it nothing is copied but the log: the copy and
// the store then share tables, which never change, so the copy protects from mistakes but
// not from the loss of the disk.
//
// The folder must be absent or empty or hold an earlier backup, of whatever store, or
// Backup returns ErrForeign. One Backup is made at a time; others wait.
func (e *Engine) Backup(ctx context.Context, dir string, opts BackupOptions) (BackupReport, error) {
	b, err := e.backup(ctx, dir, opts)
	if err != nil {
		return BackupReport{}, fmt.Errorf("back up to %s: %w", dir, err)
	}
	return b, nil
}

// BackupClosed is Backup for a store, in the folder from, that nobody has open. It returns
// ErrNoStore if there is none.
func BackupClosed(ctx context.Context, from, dir string, opts Options, backup BackupOptions) (_ BackupReport, err error) {
	names, err := opts.withDefaults().fs.List(from)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return BackupReport{}, err
	}
	if !slices.ContainsFunc(names, layout.MakesStore) {
		return BackupReport{}, fmt.Errorf("back up %s: %w", from, noStore(names))
	}
	e, err := Open(from, opts)
	if err != nil {
		return BackupReport{}, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	return e.Backup(ctx, dir, backup)
}

// ErrNoStore is returned by BackupClosed if there is nothing to copy.
var ErrNoStore = errors.New("the folder holds no sessions of sessiond")

func (e *Engine) backup(ctx context.Context, dir string, opts BackupOptions) (_ BackupReport, err error) {
	if err := e.ready(ctx); err != nil {
		return BackupReport{}, err
	}
	select {
	case e.home.backups <- struct{}{}:
		defer func() { <-e.home.backups }()
	case <-ctx.Done():
		return BackupReport{}, ctx.Err()
	}
	if dir, err = e.home.outside(dir); err != nil {
		return BackupReport{}, err
	}
	into, err := openBackup(e.home.fs, dir)
	if err != nil {
		return BackupReport{}, err
	}
	if err := into.prepare(); err != nil {
		return BackupReport{}, err
	}
	next := receipt{
		made:    e.clock.Now(),
		format:  layout.FormatVersion,
		store:   e.seed.Identity(),
		records: e.sizes(),
	}
	stage, err := e.newStage(ctx)
	if err != nil {
		return BackupReport{}, err
	}
	defer func() { err = errors.Join(err, e.home.clearStage()) }()
	copied, err := into.fill(ctx, stage, &next, &meter{report: opts.Progress})
	if err != nil {
		return BackupReport{}, errors.Join(err, into.sweep())
	}
	if err := into.publish(next); err != nil {
		return BackupReport{}, err
	}
	if err := into.sweep(); err != nil { // the next Backup tries again
		e.logger.Warn("an old backup could not be removed", "dir", dir, "err", err)
	}
	b := next.report()
	b.Copied = copied
	return b, nil
}

// home is where a store lives.
type home struct {
	fs      vfs.FS
	dir     string
	backups chan struct{} // holds one element while a backup is made
}

func newHome(fs vfs.FS, dir string) home {
	return home{fs: fs, dir: dir, backups: make(chan struct{}, 1)}
}

// outside returns the one name of a folder, which must not be one that the store works in.
func (h *home) outside(dir string) (_ string, err error) {
	if h.fs == folder.SystemFS {
		// A folder elsewhere may be a link, as that of the store may be.
		parent, err := folder.Resolve(filepath.Dir(dir))
		if own := filepath.Join(parent, filepath.Base(dir)); err == nil && parent == h.dir {
			if info, err := os.Lstat(own); err == nil && !info.IsDir() {
				return "", folder.StrangeError(own, info.Mode())
			}
		}
		if dir, err = folder.Resolve(dir); err != nil {
			return "", err
		}
	}
	inside, err := filepath.Rel(h.dir, dir)
	if err == nil && filepath.IsLocal(inside) && inside != layout.BackupName {
		return "", fmt.Errorf("%w, the data: in there only %s may be a backup", folder.ErrForeign, h.fs.PathJoin(h.dir, layout.BackupName))
	}
	return dir, nil
}

// newStage makes links to the store's files, and copies of those that will change, in a
// folder beside them. Links take no time, so the store is soon free to drop old files
// again, however long the rest of the backup takes. The log of the copy ends after everything
// that was acknowledged when newStage was called, and after everything that its tables have:
// meanwhile nothing is brought to them.
func (e *Engine) newStage(ctx context.Context) (stage string, err error) {
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
	return stage, e.log.CopyTo(logFS{FS: e.home.fs}, stage, from, to)
}

// clearStage removes what an interrupted backup has left: it would hold on to the space of
// tables that the store has dropped since.
func (h *home) clearStage() error {
	return folder.RemoveStore(h.fs, h.fs.PathJoin(h.dir, layout.StageName))
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
