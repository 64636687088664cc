package pebble

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/dirty"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
)

// ref is one announced key with its hash.
type ref struct {
	hash uint64
	key  storage.Key
}

func (x *ref) is(hash uint64, k storage.Key) bool {
	return x.hash == hash && x.key.DB == k.DB && bytes.Equal(x.key.Name, k.Name)
}

// reader is a storage.Reader over the announced keys, whose stripes are held. It is used
// again and again, so that reading allocates nothing.
type reader struct {
	e      *Engine
	refs   []ref // as announced
	at     int   // of refs, the one found last
	byHash []int // of refs, if there was something to search for
	all    bool
	held   stripeSet
	spaces layout.PhysicalDBs
	beyond bool        // something was read that no held stripe guards
	key    []byte      // scratch
	values []byte      // those that came from the cache
	open   []io.Closer // own the values that came from Pebble
}

// fewRefs is how many announced keys are searched one by one.
const fewRefs = 8

// maxKept bounds what a pooled transaction keeps for the next one.
const (
	maxKept       = 1024
	maxKeptValues = 64 << 10
)

// announce notes scope and the stripes to hold.
func (r *reader) announce(scope storage.Scope) {
	r.all, r.held = scope.All, stripeSet{}
	if r.all {
		r.held.addAll()
		return
	}
	r.refs = slices.Grow(r.refs, len(scope.Keys))
	for _, k := range scope.Keys {
		hash := r.e.seed.Hash(k.Name)
		r.held.add(stripeOf(hash))
		r.refs = append(r.refs, ref{hash, k})
	}
}

// begin is called when the stripes are held.
func (r *reader) begin() {
	if r.held != (stripeSet{}) {
		r.spaces = r.e.databases.spaces
	}
}

// end forgets everything, while the stripes are still held.
func (r *reader) end() {
	for i, c := range r.open {
		_ = c.Close() // an iterator's error, and its reading has succeeded
		r.open[i] = nil
	}
	clear(r.refs)
	r.open, r.refs = r.open[:0], r.refs[:0]
	if cap(r.refs) > maxKept {
		r.open, r.refs = nil, nil
	}
	r.at, r.byHash = 0, nil
	if r.values = r.values[:0]; cap(r.values) > maxKeptValues {
		r.values = nil
	}
	r.beyond, r.spaces = false, nil
}

// seen returns a barrier over everything that was read.
func (r *reader) seen() storage.Barrier {
	if r.all || r.beyond {
		return r.e.newest()
	}
	return r.held.newest(&r.e.stripes)
}

// find returns the place of an announced key.
func (r *reader) find(k storage.Key) (layout.HashSlot, error) {
	space, err := r.space(k.DB)
	if err != nil {
		return 0, err
	}
	hash := r.e.seed.Hash(k.Name)
	if !r.all && !r.announced(hash, k) {
		return 0, storage.ErrScope
	}
	return layout.SlotOf(space, hash), nil
}

// announced reports whether k, which has that hash, was announced. Handlers ask for their keys
// in the order in which they announced them, and often more than once: that needs no search.
func (r *reader) announced(hash uint64, k storage.Key) bool {
	n := len(r.refs)
	if n == 0 {
		return false
	}
	for _, i := range [...]int{r.at, (r.at + 1) % n} {
		if r.refs[i].is(hash, k) {
			r.at = i
			return true
		}
	}
	if n <= fewRefs {
		return slices.ContainsFunc(r.refs, func(x ref) bool { return x.is(hash, k) })
	}
	return r.search(hash, k)
}

// search is announced for a key that is out of order, among many.
func (r *reader) search(hash uint64, k storage.Key) bool {
	if r.byHash == nil {
		r.byHash = make([]int, len(r.refs))
		for i := range r.byHash {
			r.byHash[i] = i
		}
		slices.SortFunc(r.byHash, func(a, b int) int { return cmp.Compare(r.refs[a].hash, r.refs[b].hash) })
	}
	first, _ := slices.BinarySearchFunc(r.byHash, hash, func(i int, hash uint64) int { return cmp.Compare(r.refs[i].hash, hash) })
	for _, i := range r.byHash[first:] {
		switch x := r.refs[i]; {
		case x.is(hash, k):
			r.at = i
			return true
		case x.hash != hash:
			return false
		}
	}
	return false
}

// space returns the space of a database. The caller holds a stripe or databases.mu.
func (r *reader) space(db int) (uint16, error) {
	if db < 0 || db > layout.MaxPhysicalDB {
		return 0, fmt.Errorf("database %d: numbers go from 0 to %d", db, layout.MaxPhysicalDB)
	}
	return r.spaces.Of(uint16(db)), nil
}

// Get implements storage.Reader.
func (r *reader) Get(k storage.Key) (storage.Record, bool, error) {
	p, err := r.find(k)
	if err != nil {
		return storage.Record{}, false, err
	}
	x, value, found, err := r.load(p, k.Name)
	if err != nil || !found {
		return storage.Record{}, false, err
	}
	rec := x.Record()
	rec.Value = value
	return rec, true, nil
}

// Stat implements storage.Reader.
func (r *reader) Stat(k storage.Key) (storage.Record, bool, error) {
	p, err := r.find(k)
	if err != nil {
		return storage.Record{}, false, err
	}
	x, found, err := r.stat(p, k.Name)
	if err != nil || !found {
		return storage.Record{}, false, err
	}
	return x.Record(), true, nil
}

// load returns a record whose stripe is held, from the cache if that has it.
func (r *reader) load(p layout.HashSlot, name []byte) (x layout.Header, value []byte, found bool, err error) {
	have := len(r.values)
	x, values, found, whole := r.e.cache.Get(r.values, p, name)
	r.values = values // what was returned before stays where it is if this is a new array
	if whole {
		if value = values[have:len(values):len(values)]; value == nil {
			value = []byte{}
		}
		return x, value, true, nil
	}
	if !found {
		if x, found, err = r.entry(p, name); err != nil || !found {
			return layout.Header{}, nil, false, err
		}
	}
	if value, err = r.value(p, name, x); err != nil {
		return layout.Header{}, nil, false, err
	}
	r.e.cache.Put(p, name, x, value, true)
	return x, value, true, nil
}

// stat is load without the value.
func (r *reader) stat(p layout.HashSlot, name []byte) (x layout.Header, found bool, err error) {
	if x, found = r.e.cache.Stat(p, name); found {
		return x, true, nil
	}
	if x, found, err = r.entry(p, name); found {
		r.e.cache.Put(p, name, x, nil, false)
	}
	return x, found, err
}

// entry returns the entry of a record whose stripe is held: the memory knows what the tree has not yet.
func (r *reader) entry(p layout.HashSlot, name []byte) (layout.Header, bool, error) {
	if s, known := r.e.memory.Load().Recent(uint64(p), name); known {
		return tree.HeaderOf(s), !s.Gone, nil
	}
	return r.treeEntry(p, name)
}

// treeEntry returns the entry of a record as the tree has it.
func (r *reader) treeEntry(p layout.HashSlot, name []byte) (x layout.Header, found bool, err error) {
	x, found, r.key, err = tree.ReadHeader(r.e.db, r.key, p, name)
	return x, found, err
}

// value returns the value of a record that has entry x.
func (r *reader) value(p layout.HashSlot, name []byte, x layout.Header) ([]byte, error) {
	if b, known := r.e.memory.Load().Value(uint64(p), name); known {
		if len(b) < dirty.LargeValue { // the next change of the record may overwrite it
			have := len(r.values)
			r.values = append(r.values, b...)
			b = r.values[have:len(r.values):len(r.values)]
		}
		if b == nil {
			b = []byte{}
		}
		return b, nil
	}
	r.key = layout.AppendRecordKey(r.key[:0], layout.PrefixValue, p, name)
	b, closer, err := r.e.db.Get(r.key)
	if errors.Is(err, pebbledb.ErrNotFound) {
		return nil, fmt.Errorf("entry without a value: %w", layout.ErrDamaged)
	}
	if err != nil {
		return nil, pebblefile.ReadError("read value", err)
	}
	r.open = append(r.open, closer)
	if len(b) != int(x.Size) {
		return nil, fmt.Errorf("value of %d bytes, entry says %d: %w", len(b), x.Size, layout.ErrDamaged)
	}
	if b == nil {
		b = []byte{}
	}
	return b, nil
}

// Generation implements storage.Reader.
func (r *reader) Generation(k storage.Key) (uint64, error) {
	p, err := r.find(k)
	return r.e.generations.at(k.DB, p.Hash()).Load(), err
}

// lookBeyond makes the databases readable without a stripe, until done is called.
func (r *reader) lookBeyond() (done func()) {
	if r.all {
		return func() {}
	}
	r.beyond = true
	mu := &r.e.databases.mu
	mu.RLock()
	r.spaces = r.e.databases.spaces
	return mu.RUnlock
}

// Len implements storage.Reader.
func (r *reader) Len(db int) (storage.Count, error) {
	defer r.lookBeyond()()
	space, err := r.space(db)
	if err != nil {
		return storage.Count{}, err
	}
	return r.e.counters.get(space), nil
}
