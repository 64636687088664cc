package pebble

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/diskspace"
	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/logfile"
	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
)

// Open opens the store in dir and creates it if the folder is empty or absent. The folder
// belongs to the engine until Close.
func Open(dir string, opts Options) (*Engine, error) {
	e, err := open(dir, opts.withDefaults())
	if diskspace.IsFull(err) {
		err = fmt.Errorf("%w: %w", storage.ErrFull, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	return e, nil
}

func open(dir string, opts Options) (_ *Engine, err error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	if opts.FS == folder.SystemFS {
		if dir, err = folder.Resolve(dir); err != nil {
			return nil, err
		}
	}
	if err := folder.RefuseOther(opts.FS, dir); err != nil {
		return nil, err
	}
	lock, err := folder.Lock(opts.FS, dir)
	if err != nil {
		return nil, err
	}
	if err := folder.Recognise(opts.FS, dir); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if opts.FS == folder.SystemFS {
		folder.CloseToOthers(dir, opts.Logger)
	}
	home, failing := newHome(opts.FS, dir), newFailedFS(opts.FS)
	opts.FS = failing
	ctx, stop := context.WithCancel(context.Background())
	guard, err := diskspace.New(ctx, opts.guardConfig(dir))
	if err != nil {
		stop()
		return nil, errors.Join(err, lock.Close())
	}
	opts.MemTableSize = uint64(guard.MemTable())
	e := newEngine(opts, lock)
	e.guard, e.over, e.stop = guard, ctx, stop
	e.home, e.files = home, failing
	if err := e.home.clearStage(); err != nil { // it only takes space
		e.logger.Warn("what an interrupted backup left could not be removed", "err", err)
	}
	opts.FS = guard.FS(opts.FS)
	if err := e.start(dir, opts); err != nil {
		stop()
		return nil, errors.Join(err, lock.Close())
	}
	e.background.Go(func() { e.settleOften(ctx) })
	e.background.Go(func() { e.checkpointOften(ctx) })
	return e, nil
}

// guardConfig says what the guard of the disk is to know of the store in dir.
func (o *Options) guardConfig(dir string) diskspace.Config {
	return diskspace.Config{
		FS: o.FS, Dir: dir, Quota: o.MaxDisk, MemTable: int64(o.MemTableSize), Clock: o.Clock, Logger: o.Logger,
	}
}

// start looks for damage, lets Pebble open the store, loads it and has it follow the log.
func (e *Engine) start(dir string, opts Options) error {
	options := opts.pebble(nil, e.lock, e.halt)
	config := opts.logConfig(dir)
	found, err := pebblefile.Inspect(opts.FS, dir, options)
	if err == nil && len(found.Problems) == 0 {
		err = inspectLog(found, config)
	}
	if err != nil {
		return pebblefile.OpenError(dir, err)
	}
	if len(found.Problems) > 0 {
		return pebblefile.DamageError(dir, found.Problems)
	}
	begun, err := newStartFS(opts.FS, dir)
	if err != nil {
		return err
	}
	damage := pebblefile.NewDamageLog(opts.Logger, dir)
	options.FS = treeFS{pebblefile.TablesFS{FS: begun, Tell: damage.Tell}, &syncedFolder{path: dir}, e.syncLog, e.fail}
	options.EventListener = watch(damage)
	e.guard.Shape(options)
	config.FS = logfile.FS{FS: opts.FS, Folder: options.FS, Fits: func() bool { return e.guard.FitsLog(int64(config.SegmentBytes)) }}
	if opts.Tune != nil {
		opts.Tune(options)
	}
	if err := e.openParts(dir, options, config, opts.Inherit); err != nil {
		if errors.Is(err, wal.ErrReleased) {
			err = pebblefile.NewProblemError(found.List, "ends too early, or is an older one: its tables lack what the log has no more")
		}
		return errors.Join(pebblefile.OpenError(dir, err), begun.fail())
	}
	begun.succeed()
	if opts.Opened != nil {
		opts.Opened(e.db)
	}
	e.noteLogSize(opts.LogBytes, config)
	e.guard.Begin(int64(e.log.Capacity()))
	return nil
}

// watch returns what Pebble is to tell of its work.
func watch(l *pebblefile.DamageLog) *pebbledb.EventListener {
	return &pebbledb.EventListener{
		DataCorruption: func(info pebbledb.DataCorruptionInfo) { l.Tell(pebblefile.TableProblem(&info)) }, // the default ends the process
		BackgroundError: func(err error) {
			if !pebblefile.IsDamage(err) { // that was told
				l.Logger.Error("work in the background of the store", "err", err)
			}
		},
	}
}

// openParts opens Pebble's part of the store, and then the log. If that fails, neither is open.
func (e *Engine) openParts(dir string, options *pebbledb.Options, config wal.Config, inherit *tree.Head) (err error) {
	if e.db, err = e.openDB(dir, options); err != nil {
		return err
	}
	mark, err := e.load(config, inherit)
	if err == nil {
		e.guard.Compactions.Allow()
		err = e.openLog(config, mark)
	}
	if err != nil {
		return errors.Join(err, e.db.Close())
	}
	return nil
}

// syncLog brings all of the log to stable storage. Once the store has failed it returns nil: then the
// table that is to be written is one in memory, see failedFS.
func (e *Engine) syncLog() error {
	if !e.following.Load() {
		return nil // it was synced before it was read
	}
	err := e.await(context.Background(), e.logEnd())
	if err != nil && e.failed() != nil {
		return e.fail(err) // which waits until failedFS knows
	}
	return err
}

// openDB opens Pebble's part of the store. Pebble panics, having cleaned up, where it cannot
// sync the folder; and where it wants the process to end, there is no need yet.
func (e *Engine) openDB(dir string, options *pebbledb.Options) (db *pebbledb.DB, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
			if err == nil {
				e.guard.Attach(db, guarded{e})
			}
			e.serving.Store(err == nil)
		case error:
			err = p
		default:
			panic(p)
		}
	}()
	return pebbledb.Open(dir, options)
}

// load reads the head of the store, and writes it first if the store is new.
func (e *Engine) load(config wal.Config, inherit *tree.Head) (tree.Mark, error) {
	head := tree.ReadHead(e.db)
	if errors.Is(head.Problems[tree.Format], tree.ErrMissing) {
		if err := e.create(config, inherit); err != nil {
			return tree.Mark{}, err
		}
		e.created = true
		head = tree.ReadHead(e.db)
	}
	if head.Knows(tree.Format) {
		if err := layout.CheckFormat(head.Format); err != nil {
			return tree.Mark{}, err
		}
	}
	if err := head.Err(); err != nil {
		return tree.Mark{}, err
	}
	e.seed = head.Seed
	e.checkpoints.followed.Store(uint64(head.Followed))
	e.checkpoints.spaces = head.DBs
	e.index.reached = head.Fence
	e.index.begin()
	return head.Mark, nil
}

// Created reports whether Open found no store and made one.
func (e *Engine) Created() bool { return e.created }

// create writes the head of a new store, and an empty log. A store of Pebble that has keys and no
// head is somebody else's.
func (e *Engine) create(config wal.Config, from *tree.Head) error {
	it, err := e.db.NewIter(nil)
	if err != nil {
		return err
	}
	used := it.First()
	if err := it.Close(); err != nil { // which is the error of reading, too
		return err
	}
	if used {
		return fmt.Errorf("%w, another program's Pebble store: choose an empty folder", folder.ErrForeign)
	}
	begin, err := createLog(config)
	if err != nil {
		return err
	}
	var seed [16]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return err
	}
	identity := layout.Seed{K0: binary.BigEndian.Uint64(seed[:]), K1: binary.BigEndian.Uint64(seed[8:])}
	mark := tree.Mark{Followed: begin}
	if from != nil {
		if from.Knows(tree.Seed) {
			identity = from.Seed
		}
		mark.Revision, mark.Clock, mark.DBs = from.Revision, from.Clock, from.DBs
	}
	b := e.db.NewBatch()
	err = errors.Join(tree.WriteIdentity(b, identity), mark.Write(b, nil))
	return errors.Join(e.apply(b, err), e.db.Flush())
}
