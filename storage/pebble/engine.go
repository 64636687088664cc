package pebble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/cache"
	"github.com/sessiond/sessiond/storage/pebble/internal/dirty"
	"github.com/sessiond/sessiond/storage/pebble/internal/diskspace"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
	"github.com/sessiond/sessiond/ttl"
)

// Engine is a storage.Engine in a folder of the local disk. Create it with Open.
type Engine struct {
	db         *pebbledb.DB
	lock       *pebbledb.Lock
	home       home
	log        *wal.Log
	following  atomic.Bool  // log is open
	recovered  int64        // changes of the log that Open made again
	durability atomic.Int64 // storage.Durability; see SetDurability
	clock      ttl.Clock
	logger     *slog.Logger
	onFailure  func(error) // may be nil
	files      *failedFS
	seed       layout.Seed
	created    bool

	stripes     stripes
	generations generations
	databases   databases
	commits     sync.RWMutex // held for reading from the frame of a commit until it is in memory
	memory      atomic.Pointer[dirty.Memory]
	lasting     atomic.Uint64 // LSN behind the newest frame that replies wait for stable storage with
	revisions   atomic.Uint64 // the newest that was drawn
	origin      uint64        // what revisions in the frames of this life are counted from
	counters    counters
	checkpoints checkpoints
	index       index
	guard       *diskspace.Guard // of the disk
	cache       cache.Cache
	large       largeBatches

	readers sync.Pool // of *reader
	txns    sync.Pool // of *txn

	closed     atomic.Bool
	serving    atomic.Bool // Pebble has opened its part
	failOnce   sync.Once
	failure    atomic.Pointer[error] // nil as long as all is well
	torn       atomic.Bool           // Pebble's locks may be held for ever
	over       context.Context       // ends with the store
	stop       context.CancelFunc
	background sync.WaitGroup
}

var _ storage.Engine = (*Engine)(nil)

func newEngine(opts Options, lock *pebbledb.Lock) *Engine {
	e := &Engine{
		lock:      lock,
		clock:     opts.Clock,
		logger:    opts.Logger,
		onFailure: opts.OnFailure,
		over:      context.Background(), // until it is opened
		cache:     cache.New(opts.RecordBytes),
		large:     largeBatches{threshold: int(opts.MemTableSize / 2)},
	}
	e.checkpoints.begin()
	e.memory.Store(dirty.NewMemory())
	e.durability.Store(int64(opts.Durability))
	e.index.reader.e = e
	e.readers.New = func() any { return &reader{e: e} }
	e.txns.New = func() any { return &txn{reader: reader{e: e}} }
	return e
}

// View implements storage.Engine.
func (e *Engine) View(ctx context.Context, scope storage.Scope, fn func(storage.Reader) error) (b storage.Barrier, err error) {
	if err := e.ready(ctx); err != nil {
		return b, err
	}
	r := e.readers.Get().(*reader)
	defer e.readers.Put(r)
	r.announce(scope)
	r.held.rlock(&e.stripes)
	defer r.held.runlock(&e.stripes)
	r.begin()
	defer r.end()
	err = fn(r)
	return r.seen(), e.blame(err)
}

// Update implements storage.Engine. It calls fn once.
func (e *Engine) Update(ctx context.Context, scope storage.Scope, fn func(storage.Txn) error) (b storage.Barrier, err error) {
	if err := e.ready(ctx); err != nil {
		return b, err
	}
	if err := e.guard.Wait(ctx); err != nil {
		return b, err
	}
	tx := e.txns.Get().(*txn)
	defer e.txns.Put(tx)
	tx.announce(scope)
	tx.held.lock(&e.stripes)
	defer tx.held.unlock(&e.stripes)
	tx.begin()
	defer tx.end()
	if err = fn(tx); err != nil {
		return tx.seen(), e.blame(err)
	}
	b = tx.seen()
	written, err := tx.commit()
	return max(b, written), e.blame(err)
}

// Close implements storage.Engine. The folder of a store that has failed is released, too, but
// for one that Pebble itself gave up: there it stays locked until the process ends.
func (e *Engine) Close() error {
	if !e.closed.CompareAndSwap(false, true) {
		return storage.ErrClosed
	}
	e.stop()
	if e.torn.Load() {
		return e.failed()
	}
	err := e.keepSeen()
	// The log has everything: what a checkpoint saves is the time of the next start. It may wait for
	// tables to be merged.
	if failed := e.checkpoint(context.Background()); !errors.Is(failed, errUnflushed) {
		err = errors.Join(err, failed)
	}
	e.guard.End()
	e.background.Wait()
	err = errors.Join(err, e.await(context.Background(), e.logEnd()))
	err = errors.Join(err, e.db.Close(), e.log.Close(), e.lock.Close())
	if err = e.blame(err); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

func (e *Engine) ready(ctx context.Context) error {
	if err := e.usable(); err != nil {
		return err
	}
	return ctx.Err()
}

// databases holds the spaces of the databases. Whoever holds a stripe may read it without the
// lock, because it changes only while all stripes are locked.
type databases struct {
	mu     sync.RWMutex
	spaces layout.PhysicalDBs
}

// generations counts creations by database and hash. Keys share counters; a counter that
// grew for another key costs a WATCH a needless retry, no more.
type generations [1 << generationBits]atomic.Uint64

const generationBits = 16

func (g *generations) at(db int, hash uint64) *atomic.Uint64 {
	// The odd factor keeps one name in different databases apart.
	return &g[(hash>>(layout.HashBits-generationBits)+uint64(db)*40503)%uint64(len(g))]
}
