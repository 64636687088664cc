package pebble

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
	"github.com/sessiond/sessiond/ttl"
)

// Open opens the store in dir and creates it if the folder is empty or absent. The folder
// belongs to the engine until Close.
func Open(dir string, opts Options) (*Engine, error) {
	e, err := open(dir, opts.withDefaults())
	if isFull(err) {
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
	if opts.fs == folder.SystemFS {
		if dir, err = folder.Resolve(dir); err != nil {
			return nil, err
		}
	}
	if err := folder.RefuseOther(opts.fs, dir); err != nil {
		return nil, err
	}
	lock, err := folder.Lock(opts.fs, dir)
	if err != nil {
		return nil, err
	}
	if err := folder.Recognise(opts.fs, dir); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if opts.fs == folder.SystemFS {
		folder.CloseToOthers(dir, opts.Logger)
	}
	home, failing := newHome(opts.fs, dir), newFailedFS(opts.fs)
	opts.fs = failing
	room, err := newRoom(dir, &opts)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	e := newEngine(opts, lock)
	e.room = room
	e.home, e.files = home, failing
	if err := e.home.clearStage(); err != nil { // it only takes space
		e.logger.Warn("what an interrupted backup left could not be removed", "err", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	room.over = ctx
	opts.fs = pacedFS{reserveFS{opts.fs, room}, func() {
		if e.serving.Load() {
			_ = opts.Clock.Sleep(ctx, failurePause) // an early end is welcome
		}
	}}
	if err := e.start(dir, opts); err != nil {
		stop()
		return nil, errors.Join(err, lock.Close())
	}
	e.background.Go(func() { e.settleOften(ctx) })
	e.background.Go(func() { e.checkpointOften(ctx) })
	return e, nil
}

// start looks for damage, lets Pebble open the store, loads it and has it follow the log.
func (e *Engine) start(dir string, opts Options) error {
	options := opts.pebble(nil, e.lock, e.halt)
	config := opts.logConfig(dir)
	found, err := pebblefile.Inspect(opts.fs, dir, options)
	if err == nil && len(found.Problems) == 0 {
		err = inspectLog(found, config)
	}
	if err != nil {
		return pebblefile.OpenError(dir, err)
	}
	if len(found.Problems) > 0 {
		return pebblefile.DamageError(dir, found.Problems)
	}
	begun, err := newStartFS(opts.fs, dir)
	if err != nil {
		return err
	}
	damage := pebblefile.NewDamageLog(opts.Logger, dir)
	options.FS = treeFS{pebblefile.TablesFS{FS: begun, Tell: damage.Tell}, &syncedFolder{path: dir}, e.syncLog, e.fail}
	e.compactions = newCompactions(opts.Clock)
	options.EventListener = watch(damage, e.compactions)
	options.Experimental.CompactionScheduler = e.compactions
	e.room.fit(options)
	e.stalls.listen(options.EventListener)
	config.FS = logFS{FS: opts.fs, folder: options.FS, room: e.room, segment: int64(config.SegmentBytes)}
	if err := e.openParts(dir, options, config); err != nil {
		if errors.Is(err, wal.ErrReleased) {
			err = pebblefile.NewProblemError(found.List, "ends too early, or is an older one: its tables lack what the log has no more")
		}
		return errors.Join(pebblefile.OpenError(dir, err), begun.fail())
	}
	begun.succeed()
	e.noteLogSize(opts.LogBytes, config)
	e.room.begin(e.written, e.stalls.move)
	e.stalls.every = min(e.room.memTable, int64(e.log.Capacity())) / 16
	return nil
}

// watch returns what Pebble is to tell of its work.
func watch(l *pebblefile.DamageLog, pace *compactions) *pebbledb.EventListener {
	return &pebbledb.EventListener{
		DataCorruption: func(info pebbledb.DataCorruptionInfo) { l.Tell(pebblefile.TableProblem(&info)) }, // the default ends the process
		BackgroundError: func(err error) {
			if !pebblefile.IsDamage(err) { // that was told
				l.Logger.Error("work in the background of the store", "err", err)
			}
		},
		CompactionEnd: func(info pebbledb.CompactionInfo) { pace.ended(info.Err) },
	}
}

// openParts opens Pebble's part of the store, and then the log. If that fails, neither is open.
func (e *Engine) openParts(dir string, options *pebbledb.Options, config wal.Config) (err error) {
	if e.db, err = e.openDB(dir, options); err != nil {
		return err
	}
	if err = e.load(config); err == nil {
		e.compactions.begin()
		err = e.openLog(config)
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
			e.serving.Store(err == nil)
		case error:
			err = p
		default:
			panic(p)
		}
	}()
	return pebbledb.Open(dir, options)
}

// load reads what the engine keeps in memory, and writes it first if the store is new.
func (e *Engine) load(config wal.Config) error {
	version, found, err := e.meta(layout.KeyFormat, 4)
	if err != nil {
		return err
	}
	if !found {
		if err := e.create(config); err != nil {
			return err
		}
		e.created = true
	} else if err := layout.CheckFormat(binary.BigEndian.Uint32(version)); err != nil {
		return err
	}
	if err := e.loadSeed(); err != nil {
		return err
	}
	if err := e.loadNumbers(); err != nil {
		return err
	}
	if err := e.loadSpaces(); err != nil {
		return err
	}
	return e.loadCounts()
}

// Created reports whether Open found no store and made one.
func (e *Engine) Created() bool { return e.created }

// create writes the head of a new store, and an empty log. A store of Pebble that has keys and no
// head is somebody else's.
func (e *Engine) create(config wal.Config) error {
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
	var key [16]byte
	if _, err := rand.Read(key[:]); err != nil {
		return err
	}
	b := e.db.NewBatch()
	err = errors.Join(
		b.Set(layout.KeyFormat, binary.BigEndian.AppendUint32(nil, layout.FormatVersion), nil),
		b.Set(layout.KeySeed, key[:], nil),
		(&mark{lsn: begin}).write(b, nil),
	)
	return errors.Join(e.apply(b, err), e.db.Flush())
}

func (e *Engine) loadSeed() error {
	b, found, err := e.meta(layout.KeySeed, 16)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("no seed: %w", layout.ErrDamaged)
	}
	e.seed = layout.Seed{K0: binary.BigEndian.Uint64(b), K1: binary.BigEndian.Uint64(b[8:])}
	return nil
}

func (e *Engine) loadNumbers() error {
	b, found, err := e.meta(layout.KeyRevision, 8)
	if err != nil {
		return err
	}
	if found {
		e.revisions.Store(binary.BigEndian.Uint64(b))
	}
	if b, found, err = e.meta(layout.KeyFollowed, 8); err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("nothing says up to where the log was followed: %w", layout.ErrDamaged)
	}
	e.checkpoints.followed.Store(binary.BigEndian.Uint64(b))
	b, found, err = e.meta(layout.KeyFence, 8)
	if err != nil {
		return err
	}
	if found {
		e.index.reached = ttl.Instant(binary.BigEndian.Uint64(b))
	}
	b, found, err = e.meta(layout.KeyClock, 8)
	if err != nil {
		return err
	}
	if found {
		e.index.last = ttl.Instant(binary.BigEndian.Uint64(b))
		e.index.seen.Store(int64(e.index.last))
	}
	e.index.begin()
	return nil
}

func (e *Engine) loadSpaces() error {
	moved := layout.PhysicalDBs{}
	err := e.eachNumbered(layout.KeyPhysicalDB, func(db uint16, value []byte) error {
		if len(value) != 2 {
			return fmt.Errorf("space of %d bytes: %w", len(value), layout.ErrDamaged)
		}
		moved[db] = binary.BigEndian.Uint16(value)
		return nil
	})
	e.databases.spaces, e.checkpoints.spaces = moved, moved
	return err
}

func (e *Engine) loadCounts() error {
	e.counters.of = map[uint16]storage.Count{}
	return e.eachNumbered(layout.KeyCount, func(space uint16, value []byte) (err error) {
		e.counters.of[space], err = layout.DecodeCount(value)
		return err
	})
}

// eachNumbered calls fn for the meta keys that numbered has made of key.
func (e *Engine) eachNumbered(key []byte, fn func(number uint16, value []byte) error) (err error) {
	it, err := e.db.NewIter(&pebbledb.IterOptions{
		LowerBound: layout.Numbered(key, 0),
		UpperBound: append(layout.Numbered(key, layout.MaxPhysicalDB), 0),
	})
	if err != nil {
		return err
	}
	defer func() {
		if closed := it.Close(); err == nil { // which is the error of reading, too
			err = closed
		}
	}()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if err := fn(binary.BigEndian.Uint16(it.Key()[len(key):]), value); err != nil {
			return err
		}
	}
	return nil
}

// meta returns a copy of a value that has size bytes.
func (e *Engine) meta(key []byte, size int) (value []byte, found bool, err error) {
	b, closer, err := e.db.Get(key)
	if errors.Is(err, pebbledb.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	value = append(value, b...)
	if len(value) != size {
		err = fmt.Errorf("%s of %d bytes: %w", key[1:], len(value), layout.ErrDamaged)
	}
	return value, true, errors.Join(err, closer.Close())
}
