package enginetest

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// remote is a toy second engine: the model over a network. The store is one State behind some RPC. A
// transaction fetches it, runs its function here, over a model of it, and stores the result unless
// somebody else was faster; then the function runs again. Nobody holds a lock meanwhile.
//
// It passes Run. What it does not keep, a test of one process does not see: Sweep waits for the Updates of
// its own process only, and tells nobody else what it removed; a call does not end with its
// context while it is on the network; each costs what the whole store takes; and a lost node takes all along.
type remote struct {
	call    func(method string, args, reply any) error
	closed  atomic.Bool
	mu      sync.RWMutex // held for reading by Updates, so that Sweep can wait for those before it
	onSwept func([]storage.Key, storage.Barrier)
}

// attempt runs fn over a model of the store. A fn that writes runs again until nobody came between.
func (r *remote) attempt(writes bool, fn func(m *model) error) error {
	for fresh := false; !fresh; {
		var s State
		if err := r.call("Node.Load", 0, &s); err != nil {
			return err
		}
		m := s.model()
		m.closed = r.closed.Load()
		if err := fn(m); err != nil || !writes {
			return err
		}
		if err := r.call("Node.Store", stateOf(m, s.Version), &fresh); err != nil {
			return err
		}
	}
	return nil
}

func (r *remote) View(ctx context.Context, scope storage.Scope, fn func(storage.Reader) error) (b storage.Barrier, err error) {
	return 0, r.attempt(false, func(m *model) error { _, err := m.View(ctx, scope, fn); return err })
}

func (r *remote) Update(ctx context.Context, scope storage.Scope, fn func(storage.Txn) error) (b storage.Barrier, err error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return 0, r.attempt(true, func(m *model) error { _, err := m.Update(ctx, scope, fn); return err })
}

func (r *remote) Sync(ctx context.Context, _ storage.Barrier) error {
	_, err := r.View(ctx, storage.Scope{}, func(storage.Reader) error { return nil })
	return err
}

func (r *remote) Sweep(ctx context.Context, now ttl.Instant, budget int) (n int, next ttl.Instant, err error) {
	r.mu.Lock() // the Updates that were called before are over
	tell := r.onSwept
	r.mu.Unlock()
	var removed []storage.Key
	err = r.attempt(true, func(m *model) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		removed, next, err = m.sweepLocked(ctx, now, budget)
		return err
	})
	if tell != nil && len(removed) > 0 && err == nil {
		tell(removed, 0)
	}
	return len(removed), next, err
}

func (r *remote) Seen() (seen ttl.Instant) {
	_ = r.attempt(false, func(m *model) error { seen = m.seen; return nil }) // Never is true of any store
	return seen
}

func (r *remote) SetDurability(storage.Durability) storage.Barrier { return 0 }

func (r *remote) OnSwept(fn func([]storage.Key, storage.Barrier)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onSwept = fn
}

func (r *remote) Close() error {
	if r.closed.Swap(true) {
		return storage.ErrClosed
	}
	return nil
}
