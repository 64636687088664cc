package pebble

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
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
	if opts.fs == vfs.Default {
		if dir, err = resolve(dir); err != nil {
			return nil, err
		}
	}
	if err := refuseNewer(opts.fs, dir); err != nil {
		return nil, err
	}
	lock, err := lockFolder(opts.fs, dir)
	if err != nil {
		return nil, err
	}
	room, err := newRoom(dir, &opts)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	e := newEngine(opts, lock)
	e.room = room
	e.home = newHome(opts.fs, dir)
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
	return e, nil
}

// start looks for damage, lets Pebble open the store and loads it.
func (e *Engine) start(dir string, opts Options) error {
	// Everything Open writes is durable when it returns.
	e.flusher.demand.Add(1)
	defer e.flusher.demand.Add(-1)
	opts.Fatal = e.fail
	options := opts.pebble(nil, e.lock)
	known, problems, err := inspect(opts.fs, dir, options)
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		return damageError(dir, problems)
	}
	e.synced = openSynced(opts.fs, dir, known, opts.Logger)
	damage := &damageLog{logger: opts.Logger, dir: dir, told: map[string]bool{}}
	options.FS = walFS{tablesFS{opts.fs, damage.tell}, &folder{path: dir}, &e.flusher.demand, e.synced, e.failServing}
	e.compactions = newCompactions(opts.Clock)
	options.EventListener = damage.watch(e.compactions)
	options.Experimental.CompactionScheduler = e.compactions
	e.room.fit(options)
	e.stalls.listen(options.EventListener)
	if e.db, err = e.openDB(dir, options); err != nil {
		return errors.Join(openError(dir, err), e.synced.close())
	}
	if err := e.load(); err != nil {
		return errors.Join(openError(dir, err), e.db.Close(), e.synced.close())
	}
	if err := e.openJournal(dir, opts); err != nil {
		return errors.Join(openError(dir, err), e.db.Close(), e.synced.close())
	}
	e.room.begin(e.written)
	e.stalls.every = e.room.memTable / 16
	e.compactions.begin()
	return nil
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
func (e *Engine) load() error {
	version, found, err := e.meta(keyFormat, 4)
	if err != nil {
		return err
	}
	if !found {
		if err := e.create(); err != nil {
			return err
		}
	} else if v := binary.BigEndian.Uint32(version); v > formatVersion {
		return errNewer(uint64(v))
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

// create writes the head of a new store. A store of Pebble that has keys and no head is
// somebody else's.
func (e *Engine) create() error {
	it, err := e.db.NewIter(nil)
	if err != nil {
		return err
	}
	used := it.First()
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return err
	}
	if used {
		return fmt.Errorf("%w, another program's Pebble store: choose an empty folder", ErrForeign)
	}
	var key [16]byte
	if _, err := rand.Read(key[:]); err != nil {
		return err
	}
	b := e.db.NewBatch()
	err = errors.Join(
		b.Set(keyFormat, binary.BigEndian.AppendUint32(nil, formatVersion), nil),
		b.Set(keySeed, key[:], nil),
		e.db.Apply(b, pebbledb.Sync),
	)
	return errors.Join(err, b.Close())
}

func (e *Engine) loadSeed() error {
	b, found, err := e.meta(keySeed, 16)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("no seed: %w", ErrDamaged)
	}
	e.seed = seed{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
	return nil
}

func (e *Engine) loadNumbers() error {
	b, found, err := e.meta(keyRevision, 8)
	if err != nil {
		return err
	}
	if found {
		used := binary.BigEndian.Uint64(b)
		e.revisions.last.Store(used)
		e.revisions.reserved.Store(used)
	}
	b, found, err = e.meta(keyFence, 8)
	if err != nil {
		return err
	}
	if found {
		e.index.saved = ttl.Instant(binary.BigEndian.Uint64(b))
	}
	b, found, err = e.meta(keySeen, 8)
	if err != nil {
		return err
	}
	if found {
		e.index.last = ttl.Instant(binary.BigEndian.Uint64(b))
		e.index.seen.Store(int64(e.index.last))
	}
	e.index.fence.Store(int64(e.index.saved))
	e.index.from = appendIndexStart(nil, e.index.saved)
	return nil
}

func (e *Engine) loadSpaces() error {
	moved := spaces{}
	err := e.eachNumbered(keySpace, func(db uint16, value []byte) error {
		if len(value) != 2 {
			return fmt.Errorf("space of %d bytes: %w", len(value), ErrDamaged)
		}
		moved[db] = binary.BigEndian.Uint16(value)
		return nil
	})
	e.layout.spaces = moved
	return err
}

func (e *Engine) loadCounts() error {
	e.counters.of = map[uint16]storage.Count{}
	return e.eachNumbered(keyCount, func(space uint16, value []byte) (err error) {
		e.counters.of[space], err = decodeCount(value)
		return err
	})
}

// eachNumbered calls fn for the meta keys that numbered has made of key.
func (e *Engine) eachNumbered(key []byte, fn func(number uint16, value []byte) error) (err error) {
	it, err := e.db.NewIter(&pebbledb.IterOptions{
		LowerBound: numbered(key, 0),
		UpperBound: append(numbered(key, maxSpace), 0),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
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
		err = fmt.Errorf("%s of %d bytes: %w", key[1:], len(value), ErrDamaged)
	}
	return value, true, errors.Join(err, closer.Close())
}
