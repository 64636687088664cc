package sessiond

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// Forever is the time to live of a key that lives until it is deleted.
const Forever time.Duration = math.MaxInt64

// DB is one database of a Store: keys with values and deadlines. It is safe for concurrent
// use.
//
// Every method is atomic. It returns when what it did, and what it read, is as safe as the
// Durability says; an error from then on, ctx's included, leaves open whether the change
// was made. A key whose deadline has passed does not exist.
//
// A time to live is counted from the moment of the call in whole milliseconds, rounded up. It must be
// positive: zero may be an unset maxAge. A key that lives until it is deleted has the time to live
// Forever.
type DB struct {
	store *Store
	index int
}

// Get returns a copy of the value of key. If there is no such key, found is false and err
// is nil; an empty value is found. See ErrWrongKind.
func (db *DB) Get(ctx context.Context, key string) (value []byte, found bool, err error) {
	value, found, err = db.AppendValue(ctx, nil, key)
	if found && value == nil {
		value = []byte{}
	}
	return value, found, err
}

// AppendValue is like Get and appends the value to dst. It allocates nothing if the value fits into dst
// and the session is in the cache. If there is no such key it returns dst.
func (db *DB) AppendValue(ctx context.Context, dst []byte, key string) (value []byte, found bool, err error) {
	c := db.call(key)
	defer c.done()
	c.value, c.have = dst, len(dst)
	if err := db.run(ctx, db.store.keyspace.View, c.keys[:], c.get); err != nil {
		return dst, false, err
	}
	return c.value, c.found, nil
}

// Set stores value under key with a time to live and replaces what was there. It does not keep the
// slice. See ErrDiskFull.
func (db *DB) Set(ctx context.Context, key string, value []byte, timeToLive time.Duration) error {
	if err := checkTTL(timeToLive); err != nil {
		return err
	}
	k := db.key(key)
	return db.update(ctx, []storage.Key{k}, func(tx *storage.Tx) error {
		return tx.Put(k, storage.Record{
			Kind:     storage.KindString,
			Value:    value,
			Deadline: deadline(tx.Now(), timeToLive),
		})
	})
}

// Touch gives key a new time to live and does not read or write its value, so it costs the same for 100
// bytes and 1 MB. If there is no such key, found is false and nothing happens.
func (db *DB) Touch(ctx context.Context, key string, timeToLive time.Duration) (found bool, err error) {
	if err := checkTTL(timeToLive); err != nil {
		return false, err
	}
	c := db.call(key)
	defer c.done()
	c.timeToLive = timeToLive
	err = db.run(ctx, db.store.keyspace.Update, c.keys[:], c.touch)
	return c.found && err == nil, err
}

// Delete removes keys and returns how many existed. It removes all of them or none.
func (db *DB) Delete(ctx context.Context, keys ...string) (n int, err error) {
	scope := make([]storage.Key, len(keys))
	for i, key := range keys {
		scope[i] = db.key(key)
	}
	err = db.update(ctx, scope, func(tx *storage.Tx) error {
		n = 0
		for _, k := range scope {
			deleted, err := tx.Delete(k)
			if err != nil {
				return err
			}
			if deleted {
				n++
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// TTL returns the time to live of key. It is Forever if key has no deadline, or one that is more than
// 292 years away, and more than zero otherwise. If there is no such key, found is false.
func (db *DB) TTL(ctx context.Context, key string) (timeToLive time.Duration, found bool, err error) {
	k := db.key(key)
	err = db.view(ctx, k, func(tx *storage.Tx) error {
		var r storage.Record
		r, found, err = tx.Stat(k)
		timeToLive = Forever
		if found && r.Deadline != ttl.Never {
			timeToLive = r.Deadline.Sub(tx.Now())
		}
		return err
	})
	if err != nil || !found {
		return 0, false, err
	}
	return timeToLive, true, nil
}

func (db *DB) key(name string) storage.Key {
	return storage.Key{DB: db.index, Name: []byte(name)}
}

// call is an operation on one key. Calls are reused to save an allocation.
type call struct {
	keys       [1]storage.Key
	value      []byte
	have       int // bytes of the caller's slice before the value
	timeToLive time.Duration
	found      bool
	get, touch func(*storage.Tx) error
}

// maxKeptName is the longest key whose buffer is kept for the next call.
const maxKeptName = 1 << 10

var calls = sync.Pool{New: func() any {
	c := &call{}
	c.get, c.touch = c.runGet, c.runTouch
	return c
}}

func (db *DB) call(key string) *call {
	c := calls.Get().(*call)
	k := &c.keys[0]
	k.DB, k.Name = db.index, append(k.Name[:0], key...)
	return c
}

func (c *call) done() {
	c.value, c.found = nil, false
	if cap(c.keys[0].Name) <= maxKeptName {
		calls.Put(c)
	}
}

func (c *call) runGet(tx *storage.Tx) (err error) {
	var r storage.Record
	r, c.found, err = tx.FindString(c.keys[0])
	c.value = append(c.value[:c.have], r.Value...) // it may be the second attempt
	return err
}

func (c *call) runTouch(tx *storage.Tx) error {
	err := tx.SetDeadline(c.keys[0], deadline(tx.Now(), c.timeToLive))
	c.found = err == nil
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return err
}

func (db *DB) view(ctx context.Context, k storage.Key, fn func(*storage.Tx) error) error {
	return db.run(ctx, db.store.keyspace.View, []storage.Key{k}, fn)
}

func (db *DB) update(ctx context.Context, keys []storage.Key, fn func(*storage.Tx) error) error {
	return db.run(ctx, db.store.keyspace.Update, keys, fn)
}

type transactFunc func(context.Context, storage.Scope, func(*storage.Tx) error) (storage.Barrier, error)

// run runs fn in a transaction and waits for its barrier. Reads wait, too, because a power cut must not
// undo what the caller was shown.
func (db *DB) run(ctx context.Context, transact transactFunc, keys []storage.Key, fn func(*storage.Tx) error) error {
	s := db.store
	s.calls.RLock()
	defer s.calls.RUnlock()
	if s.closed {
		return ErrClosed
	}
	barrier, err := transact(ctx, storage.Scope{Keys: keys}, fn)
	if err != nil {
		return err
	}
	return s.keyspace.Sync(ctx, barrier)
}

func checkTTL(d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("time to live %v: must be positive; sessiond.Forever is for what lives until it is deleted", d)
	}
	return nil
}

// deadline returns the instant d after now, rounded up, so that a life of less than a millisecond is
// not over at once.
func deadline(now ttl.Instant, d time.Duration) ttl.Instant {
	if d == Forever {
		return ttl.Never
	}
	whole := now.Add(d)
	if d%time.Millisecond != 0 {
		whole++
	}
	return whole
}
