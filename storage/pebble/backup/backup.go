// Package backup copies a store to another folder while it works (Make), makes a store of such a copy
// again (Restore), and holds a copy to its receipt (Check). It stands above the engine, from which it
// takes a snapshot: links to its files as of one instant.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/sessiond/sessiond/storage/pebble"
	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/progress"
	"github.com/sessiond/sessiond/ttl"
)

// Report describes a copy of a store.
type Report struct {
	// Made is the instant of the copy. Every change that was acknowledged before is in it,
	// and perhaps a few later ones, each with all that came before.
	Made ttl.Instant
	// Records holds the sizes of the databases that are not empty: of the copy if Restore
	// tells them, of the store when the copying began if Make does.
	Records map[int]int64
	// Bytes is the size of the copy, and Copied how many of them had to be written. The
	// rest is shared with the store or with the copy before.
	Bytes, Copied int64
}

// Options changes how Make works. The zero value is ready to use.
type Options struct {
	// Progress is told how many bytes of how many the copy has, shared ones included, by one
	// goroutine. At the end both are equal. Nil means nobody.
	Progress func(done, total int64)
}

// Make copies the store, as it stands at one instant, into the folder dir. The store goes
// on working. A copy that is there already is replaced when the new one is complete and on
// stable storage, and not before, whatever happens; what has not changed since is not
// copied again. Where the file system allows it nothing is copied but the log: the copy and
// the store then share tables, which never change, so the copy protects from mistakes but
// not from the loss of the disk.
//
// The folder must be absent or empty or hold an earlier backup, of whatever store, or
// Make returns ErrForeign. One copy is made at a time; others wait.
func Make(ctx context.Context, e *pebble.Engine, dir string, opts Options) (Report, error) {
	b, err := backup(ctx, e, dir, opts)
	if err != nil {
		return Report{}, fmt.Errorf("back up to %s: %w", dir, err)
	}
	return b, nil
}

// MakeClosed is Make for a store, in the folder from, that nobody has open. It returns
// ErrNoStore if there is none.
func MakeClosed(ctx context.Context, from, dir string, options pebble.Options, opts Options) (_ Report, err error) {
	files := options.FS
	if files == nil {
		files = folder.SystemFS
	}
	names, err := files.List(from)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Report{}, err
	}
	if !slices.ContainsFunc(names, layout.MakesStore) {
		return Report{}, fmt.Errorf("back up %s: %w", from, folder.NoStore(names))
	}
	e, err := pebble.Open(from, options)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	return Make(ctx, e, dir, opts)
}

func backup(ctx context.Context, e *pebble.Engine, dir string, opts Options) (_ Report, err error) {
	snapshot, err := e.Snapshot(ctx)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	if dir, err = outside(snapshot, dir); err != nil {
		return Report{}, err
	}
	into, err := openBackup(snapshot.FS, dir)
	if err != nil {
		return Report{}, err
	}
	if err := into.prepare(); err != nil {
		return Report{}, err
	}
	next := receipt{made: snapshot.Made, format: layout.FormatVersion, store: snapshot.Store, records: snapshot.Records}
	stage, err := snapshot.Stage(ctx)
	if err != nil {
		return Report{}, err
	}
	copied, err := into.fill(ctx, stage, &next, &progress.Meter{Report: opts.Progress})
	if err != nil {
		return Report{}, errors.Join(err, into.sweep())
	}
	if err := into.publish(next); err != nil {
		return Report{}, err
	}
	if err := into.sweep(); err != nil { // the next Backup tries again
		snapshot.Warn("an old backup could not be removed", "dir", dir, "err", err)
	}
	b := next.report()
	b.Copied = copied
	return b, nil
}

// outside returns the one name of a folder, which must not be one that the store works in.
func outside(s *pebble.Snapshot, dir string) (_ string, err error) {
	if s.FS == folder.SystemFS {
		// A folder elsewhere may be a link, as that of the store may be.
		parent, err := folder.Resolve(filepath.Dir(dir))
		if own := filepath.Join(parent, filepath.Base(dir)); err == nil && parent == s.Dir {
			if info, err := os.Lstat(own); err == nil && !info.IsDir() {
				return "", folder.StrangeError(own, info.Mode())
			}
		}
		if dir, err = folder.Resolve(dir); err != nil {
			return "", err
		}
	}
	inside, err := filepath.Rel(s.Dir, dir)
	if err == nil && filepath.IsLocal(inside) && inside != layout.BackupName {
		return "", fmt.Errorf("%w, the data: in there only %s may be a backup", folder.ErrForeign, s.FS.PathJoin(s.Dir, layout.BackupName))
	}
	return dir, nil
}
