package enginetest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// NewModel returns an engine in memory that is too simple to be wrong: one lock, one map,
// and a list of undo steps. It is the oracle of RunModel and a real engine for the tests
// of everything above the seam.
//
// It is strict with its callers. What fn may not keep is wiped when fn returns, and a
// Reader or Txn that outlives its function panics.
func NewModel() storage.Engine {
	return &model{records: map[id]life{}, born: map[id]uint64{}}
}

// id is a storage.Key that can be the key of a map.
type id struct {
	db   int
	name string
}

func idOf(k storage.Key) id { return id{k.DB, string(k.Name)} }

func (k id) key() storage.Key { return storage.Key{DB: k.db, Name: []byte(k.name)} }

// life is a record and its elements. The map is never changed, only replaced.
type life struct {
	storage.Record
	elements map[string]string
}

type model struct {
	mu         sync.Mutex
	closed     bool
	records    map[id]life
	born       map[id]uint64 // the generation of each key that was ever created
	revision   uint64        // the last one given out
	generation uint64        // the last one given out
	seen       ttl.Instant
	swept      int64
	onSwept    func([]storage.Key, storage.Barrier)
}

func (m *model) View(ctx context.Context, scope storage.Scope, fn func(storage.Reader) error) (storage.Barrier, error) {
	return 0, m.run(ctx, scope, func(tx *modelTxn) error { return fn(tx) })
}

func (m *model) Update(ctx context.Context, scope storage.Scope, fn func(storage.Txn) error) (storage.Barrier, error) {
	return 0, m.run(ctx, scope, func(tx *modelTxn) error { return fn(tx) })
}

func (m *model) run(ctx context.Context, scope storage.Scope, fn func(*modelTxn) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usableLocked(ctx); err != nil {
		return err
	}
	tx := &modelTxn{model: m, scope: scope}
	defer tx.end()
	if err := fn(tx); err != nil {
		return err
	}
	tx.undo = nil
	return nil
}

func (m *model) usableLocked(ctx context.Context) error {
	if m.closed {
		return storage.ErrClosed
	}
	return ctx.Err()
}

func (m *model) Sync(ctx context.Context, _ storage.Barrier) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.usableLocked(ctx)
}

func (m *model) Sweep(ctx context.Context, now ttl.Instant, budget int) (n int, next ttl.Instant, err error) {
	m.mu.Lock()
	removed, next, err := m.sweepLocked(ctx, now, budget)
	handOver := m.onSwept
	m.mu.Unlock()
	if handOver != nil && len(removed) > 0 {
		handOver(removed, 0)
		for _, k := range removed {
			clear(k.Name)
		}
	}
	return len(removed), next, err
}

func (m *model) sweepLocked(ctx context.Context, now ttl.Instant, budget int) (removed []storage.Key, next ttl.Instant, err error) {
	if err := m.usableLocked(ctx); err != nil {
		return nil, ttl.Never, err
	}
	m.seen = min(m.seen, now)
	for k, r := range m.records {
		switch {
		case r.Deadline.Due(now) && len(removed) < budget:
			delete(m.records, k)
			removed = append(removed, k.key())
			m.swept++
			m.seen = now
		case r.Deadline != ttl.Never && (next == ttl.Never || r.Deadline < next):
			next = r.Deadline
		}
	}
	return removed, next, nil
}

func (m *model) OnSwept(fn func(keys []storage.Key, b storage.Barrier)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onSwept = fn
}

func (m *model) Seen() ttl.Instant {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen
}

// SetDurability changes nothing: what is in memory is as safe as it gets here.
func (m *model) SetDurability(storage.Durability) storage.Barrier { return 0 }

func (m *model) Swept() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.swept
}

func (m *model) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return storage.ErrClosed
	}
	m.closed = true
	return nil
}

// modelTxn is the Reader and the Txn of a model, which stays locked while it lives.
type modelTxn struct {
	*model // nil once the function has returned
	scope  storage.Scope
	undo   []func() // newest last; empty once committed
	lent   [][]byte // values handed out
}

func (tx *modelTxn) end() {
	for _, undo := range slices.Backward(tx.undo) {
		undo()
	}
	for _, value := range tx.lent {
		clear(value)
	}
	tx.model = nil
}

func (tx *modelTxn) announced(k storage.Key) error {
	same := func(s storage.Key) bool { return s.DB == k.DB && bytes.Equal(s.Name, k.Name) }
	if tx.scope.All || slices.ContainsFunc(tx.scope.Keys, same) {
		return nil
	}
	return storage.ErrScope
}

func (tx *modelTxn) Get(k storage.Key) (storage.Record, bool, error) {
	if err := tx.announced(k); err != nil {
		return storage.Record{}, false, err
	}
	r, found := tx.records[idOf(k)]
	r.Value = tx.lend(r.Value)
	return r.Record, found, nil
}

// lend returns a copy that ends with the transaction.
func (tx *modelTxn) lend(value []byte) []byte {
	value = bytes.Clone(value)
	tx.lent = append(tx.lent, value)
	return value
}

func (tx *modelTxn) Stat(k storage.Key) (storage.Record, bool, error) {
	r, found, err := tx.Get(k)
	r.Value = nil
	return r, found, err
}

func (tx *modelTxn) Generation(k storage.Key) (uint64, error) {
	return tx.born[idOf(k)], tx.announced(k)
}

// Len counts record by record: being right is worth more here than being fast.
func (tx *modelTxn) Len(db int) (storage.Count, error) {
	var count storage.Count
	for _, k := range tx.database(db) {
		count.Records++
		if tx.records[k].Deadline != ttl.Never {
			count.Expiring++
		}
	}
	return count, nil
}

func (tx *modelTxn) Scan(db int, cursor uint64, limit int, fn func(storage.Key, storage.Record) bool) (uint64, error) {
	keys := slices.DeleteFunc(tx.database(db), func(k id) bool { return position(k) < cursor })
	slices.SortFunc(keys, func(a, b id) int {
		return cmp.Or(cmp.Compare(position(a), position(b)), cmp.Compare(a.name, b.name))
	})
	stopped := false
	for i, k := range keys {
		full := i >= max(limit, 1) && position(k) != position(keys[i-1])
		if stopped || full {
			return position(k), nil
		}
		r, name := tx.records[k].Record, []byte(k.name)
		r.Value = nil
		stopped = !fn(storage.Key{DB: db, Name: name}, r)
		clear(name)
	}
	return 0, nil
}

// position is where Scan meets k. Only 16 of the 48 bits vary, so that names which share
// a position are easy to find.
func position(k id) uint64 {
	sum := sha256.Sum256([]byte(k.name))
	return uint64(binary.BigEndian.Uint16(sum[:])) << 32
}

func (tx *modelTxn) Put(k storage.Key, r storage.Record) error {
	if err := tx.announced(k); err != nil {
		return err
	}
	r.Value, r.Size = bytes.Clone(r.Value), len(r.Value)
	tx.change(idOf(k), life{Record: r})
	return nil
}

func (tx *modelTxn) SetDeadline(k storage.Key, deadline ttl.Instant) error {
	if err := tx.announced(k); err != nil {
		return err
	}
	r, found := tx.records[idOf(k)]
	if !found {
		return storage.ErrNotFound
	}
	r.Deadline = deadline
	tx.change(idOf(k), r)
	return nil
}

func (tx *modelTxn) Delete(k storage.Key) error {
	if err := tx.announced(k); err != nil {
		return err
	}
	tx.remove(idOf(k))
	return nil
}

func (tx *modelTxn) Flush(db int) error {
	if !tx.scope.All {
		return storage.ErrScope
	}
	for _, k := range tx.database(db) {
		tx.remove(k)
	}
	return nil
}

func (tx *modelTxn) Swap(a, b int) error {
	if !tx.scope.All {
		return storage.ErrScope
	}
	if a == b {
		return nil
	}
	moved := map[id]life{}
	for _, k := range tx.database(a) {
		moved[id{b, k.name}] = tx.records[k]
		tx.remove(k)
	}
	for _, k := range tx.database(b) {
		moved[id{a, k.name}] = tx.records[k]
		tx.remove(k)
	}
	for k, r := range moved {
		tx.remember(k)
		tx.records[k] = r
	}
	return nil
}

// database returns the keys of the records of a database, in no order.
func (tx *modelTxn) database(db int) (keys []id) {
	for k := range tx.records {
		if k.db == db {
			keys = append(keys, k)
		}
	}
	return keys
}

// change is set with a new revision.
func (tx *modelTxn) change(k id, r life) {
	tx.revision++
	r.Revision = tx.revision
	tx.set(k, r)
}

func (tx *modelTxn) set(k id, r life) {
	tx.remember(k)
	if _, found := tx.records[k]; !found {
		tx.generation++
		tx.born[k] = tx.generation
	}
	tx.records[k] = r
}

func (tx *modelTxn) remove(k id) {
	tx.remember(k)
	delete(tx.records, k)
}

// remember notes how to bring back what k is now.
func (tx *modelTxn) remember(k id) {
	m, born := tx.model, tx.born[k]
	r, found := tx.records[k]
	tx.undo = append(tx.undo, func() {
		m.born[k] = born
		if found {
			m.records[k] = r
		} else {
			delete(m.records, k)
		}
	})
}
