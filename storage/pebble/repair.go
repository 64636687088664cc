package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
)

// RepairOptions changes how Repair works. The zero value is ready to use.
type RepairOptions struct {
	// Progress is told as CheckOptions.Progress is, first for the reading of the old store
	// and then, beginning at 0 again, for the check of the new one.
	Progress func(done, total int64)
	// Logger is told of trouble with the new store. Nil means slog.Default().
	Logger *slog.Logger

	fs vfs.FS // nil means the operating system's
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
	meter  meter
	notes  notes
	report RepairReport

	to    *Engine
	dbs   layout.PhysicalDBs // the other way round: databases by space
	saved map[uint16]storage.Count
	batch []saving
	bytes int // of the batch
}

func (r *repairer) repair(ctx context.Context, dir, to string) (err error) {
	if err := r.checkTarget(dir, to); err != nil {
		return err
	}
	r.meter.report = r.opts.Progress
	if r.salvage, err = openSalvage(dir, r.opts.fs, r.meter.add); err != nil {
		return err
	}
	err = errors.Join(r.copyTo(ctx, to), r.close())
	if err == nil {
		err = r.seal()
	}
	if r.to != nil {
		err = errors.Join(err, r.to.Close())
	}
	if err != nil {
		return err
	}
	r.summarise()
	check, err := Check(ctx, to, CheckOptions{Progress: r.opts.Progress, fs: r.opts.fs})
	if err == nil && check.Damage > 0 {
		err = fmt.Errorf("the new store is damaged, too: is the disk sound? %v", check.Problems[0])
	}
	return err
}

// checkTarget makes sure that the new store gets a folder of its own.
func (r *repairer) checkTarget(dir, to string) error {
	files := r.opts.fs
	if files == nil {
		files = folder.SystemFS
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
		if name != "lost+found" {
			return fmt.Errorf("the new folder is not empty, it has %q: choose another", name)
		}
	}
	return nil
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

// copyTo opens the new store and writes everything but its format. It syncs when it is
// closed; until then nobody rests on it.
func (r *repairer) copyTo(ctx context.Context, to string) (err error) {
	r.to, err = Open(to, Options{
		Durability: storage.EverySec,
		CacheBytes: salvageCache,
		Logger:     r.opts.Logger,
		fs:         r.opts.fs,
	})
	if err != nil {
		return err
	}
	if err := r.begin(); err != nil {
		return err
	}
	r.meter.begin(r.tableBytes())
	entries, values, err := r.walk(ctx, func(f *found) error { return r.take(ctx, f) })
	if err != nil {
		return err
	}
	r.noteGaps(entries, values)
	r.meter.end()
	return r.flush(ctx)
}

// seal gives the new store its format. Without one Open takes it for no store, and so never
// a part of it for the whole. The log has no frame for it, so it is written out at once.
func (r *repairer) seal() error {
	b := r.to.db.NewBatch()
	return errors.Join(
		b.Set(layout.KeyFormat, binary.BigEndian.AppendUint32(nil, layout.FormatVersion), nil),
		r.to.db.Apply(b, pebbledb.NoSync),
		b.Close(),
		r.to.db.Flush(),
	)
}

// begin gives the new store the head of the old one, as far as it can be read.
func (r *repairer) begin() error {
	h := &r.head
	b := r.to.db.NewBatch()
	errs := []error{b.Delete(layout.KeyFormat, nil)}
	if h.seedKnown {
		key := binary.BigEndian.AppendUint64(nil, h.seed.K0)
		errs = append(errs, b.Set(layout.KeySeed, binary.BigEndian.AppendUint64(key, h.seed.K1), nil))
	}
	if h.seen > 0 {
		errs = append(errs, b.Set(layout.KeyClock, binary.BigEndian.AppendUint64(nil, uint64(h.seen)), nil))
	}
	errs = append(errs, writeSpaces(b, nil, h.spaces), r.to.db.Apply(b, pebbledb.NoSync), b.Close(), r.to.db.Flush())
	r.dbs = layout.PhysicalDBs{}
	for db, space := range h.spaces {
		r.dbs[space] = db
	}
	errs = append(errs, r.to.loadSeed(), r.to.loadNumbers(), r.to.loadSpaces())
	raise(&r.to.revisions, max(r.to.origin, h.revision+1<<32))
	return errors.Join(errs...)
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
	r.saved[space] = sum(r.saved[space], layout.CountOf(true, f.entry))
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
