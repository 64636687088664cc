// Package repair reads a store that may be damaged and that nobody has open: it says what is wrong with
// it (Check), and saves what can be saved into a new one (Repair). It never changes what it reads, and
// stands above the engine, with which it writes the new store.
package repair

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble"
	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/progress"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
)

// RepairOptions changes how Repair works. The zero value is ready to use.
type RepairOptions struct {
	// Progress is told as CheckOptions.Progress is, first for the reading of the old store
	// and then, beginning at 0 again, for the check of the new one.
	Progress func(done, total int64)
	// Logger is told of trouble with the new store. Nil means slog.Default().
	Logger *slog.Logger

	FS vfs.FS // nil means the operating system's
}

// RepairReport says what Repair saved and what it gave up.
type RepairReport struct {
	// Databases are those that had sessions, or have, in order.
	Databases []RepairedDatabase
	// GivenUp is what could not be saved: the first hundred of each kind, and a line that
	// counts the others. If it is empty the new store has everything.
	GivenUp []Problem
	// Renewed are the parts that were wrong and could be made anew from the sessions.
	Renewed []string
	// Halves is the number of sessions of which one half could be read.
	Halves int64
}

// RepairedDatabase is how much of a database was saved.
type RepairedDatabase struct {
	Database int
	Saved    int64 // sessions that the new store has
	Counted  int64 // sessions that the old store's counter told of; -1 if it cannot be read
}

// Repair reads what can be read of the store in dir, which it does not change and nobody
// may have open, and writes it to a new store in the folder to, which must be absent or
// empty. At last it checks the new store.
//
// A session is saved with its value and its deadline, or not at all. Where something cannot
// be read nothing is used that lies beneath, since it may be older: no session that was
// ended comes back, unless the end itself stood in a damaged part of the log, which the
// report then says. The index and the counters are made anew. An error leaves a folder that
// no Open takes for a store. ErrManifest says that nothing can be done.
func Repair(ctx context.Context, dir, to string, opts RepairOptions) (RepairReport, error) {
	r := repairer{opts: opts, notes: notes{}, saved: map[uint16]storage.Count{}}
	if err := r.repair(ctx, dir, to); err != nil {
		return RepairReport{}, fmt.Errorf("repair store %s into %s: %w", dir, to, err)
	}
	return r.report, nil
}

type repairer struct {
	*salvage
	opts   RepairOptions
	meter  progress.Meter
	notes  notes
	report RepairReport

	to    *pebble.Engine
	dbs   layout.PhysicalDBs // the other way round: databases by space
	saved map[uint16]storage.Count
	batch []saving
	bytes int // of the batch
}

func (r *repairer) repair(ctx context.Context, dir, to string) (err error) {
	if r.opts.FS == nil {
		r.opts.FS = folder.SystemFS
	}
	if err := r.checkTarget(dir, to); err != nil {
		return err
	}
	r.meter.Report = r.opts.Progress
	if r.salvage, err = openSalvage(dir, r.opts.FS, r.meter.Add); err != nil {
		return err
	}
	whole := r.opts.FS.PathJoin(to, layout.RestoreName)
	if err := errors.Join(r.build(ctx, whole), r.close()); err != nil {
		return err // what was built so far keeps Open from taking the folder for an empty one
	}
	r.summarise()
	check, err := Check(ctx, whole, CheckOptions{Progress: r.opts.Progress, FS: r.opts.FS})
	if err == nil && check.Damage > 0 {
		err = fmt.Errorf("the new store is damaged, too: is the disk sound? %v", check.Problems[0])
	}
	if err != nil {
		return err
	}
	return folder.MoveOut(r.opts.FS, whole, to)
}

// checkTarget makes sure that the new store gets a folder of its own.
func (r *repairer) checkTarget(dir, to string) error {
	files := r.opts.FS
	if files == folder.SystemFS {
		inside, err := within(dir, to)
		if err != nil {
			return err
		}
		if inside {
			return errors.New("the new folder lies in the old one: choose another")
		}
	}
	names, err := files.List(to)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if name != "lost+found" && name != layout.RestoreName {
			return fmt.Errorf("the new folder is not empty, it has %q: choose another", name)
		}
	}
	return folder.Clear(files, to)
}

// within reports whether a folder that may not exist yet is dir or lies in it.
func within(dir, inside string) (bool, error) {
	outer, err := folder.Resolve(dir)
	if err != nil {
		return false, err
	}
	inner, err := folder.Resolve(inside)
	if err != nil {
		return false, err
	}
	if parent, err := folder.Resolve(filepath.Dir(inner)); err == nil {
		inner = filepath.Join(parent, filepath.Base(inner))
	}
	rel, err := filepath.Rel(outer, inner)
	return err == nil && filepath.IsLocal(rel), nil
}

// build makes the new store in the folder whole.
func (r *repairer) build(ctx context.Context, whole string) (err error) {
	if err := folder.Make(r.opts.FS, whole); err != nil {
		return err
	}
	r.to, err = pebble.Open(whole, pebble.Options{
		Durability: storage.EverySec,
		CacheBytes: salvageCache,
		Logger:     r.opts.Logger,
		FS:         r.opts.FS,
		Inherit:    r.head.Head,
	})
	if err != nil {
		return err
	}
	return errors.Join(r.copyRecords(ctx), r.to.Close())
}

func (r *repairer) copyRecords(ctx context.Context) error {
	r.dbs = r.head.DBs.Databases()
	r.meter.Begin(r.tableBytes())
	entries, values, err := r.walk(ctx, func(f *found) error { return r.take(ctx, f) })
	if err != nil {
		return err
	}
	r.noteGaps(entries, values)
	r.meter.End()
	return r.flush(ctx)
}

// saving is a record on its way.
type saving struct {
	key storage.Key
	rec storage.Record
}

// Records are written in batches of about these sizes.
const (
	savedRecords = 256
	savedBytes   = 1 << 20
)

// take saves a whole record and notes what is wrong with any other.
func (r *repairer) take(ctx context.Context, f *found) error {
	if state := f.judge(&r.head); state != whole {
		r.noteLost(f, state)
		return nil
	}
	space := f.place.PhysicalDB()
	r.saved[space] = tree.Sum(r.saved[space], layout.CountOf(true, f.entry))
	r.batch = append(r.batch, saving{
		storage.Key{DB: int(r.dbs.Of(space)), Name: append([]byte(nil), f.name...)},
		storage.Record{Kind: f.entry.Kind, Value: append([]byte(nil), f.value...), Deadline: f.entry.Deadline},
	})
	if r.bytes += len(f.value); len(r.batch) < savedRecords && r.bytes < savedBytes {
		return nil
	}
	return r.flush(ctx)
}

// flush writes the batch through the engine, which makes the index and the counters.
func (r *repairer) flush(ctx context.Context) error {
	scope := storage.Scope{}
	for i := range r.batch {
		scope.Keys = append(scope.Keys, r.batch[i].key)
	}
	_, err := r.to.Update(ctx, scope, func(tx storage.Txn) error {
		for i := range r.batch {
			if err := tx.Put(r.batch[i].key, r.batch[i].rec); err != nil {
				return err
			}
		}
		return nil
	})
	clear(r.batch)
	r.batch, r.bytes = r.batch[:0], 0
	return err
}
