// Package storage keeps records with deadlines.
//
// Keyspace is what commands and the embedded API work on. It adds to an Engine the one
// thing engines do not know: the time. A record whose deadline is due is absent here,
// swept or not. Time is read once per View or Update, while the records are locked, so
// two transactions on one key agree about its end.
//
// An Engine (see storage/pebble) stores records and makes them durable. What Redis
// means by NX or KEEPTTL is decided above this package. How a data type gets its value is told in value.go.
package storage

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// ErrReadOnly is returned by the writing methods of a Tx that came from View.
var ErrReadOnly = errors.New("write in a read-only transaction")

// Keyspace is an Engine with a clock. It is safe for concurrent use.
type Keyspace struct {
	engine  Engine
	clock   ttl.Clock
	keeper  Timekeeper   // the engine, if it has a clock of its own
	visits  sync.Pool    // of *visit
	expired atomic.Int64 // records that were replaced or deleted after their end

	listener atomic.Pointer[Listener] // nil if nobody listens
}

// visit is one View or Update. It is used again and again, with its functions, so that a
// transaction allocates nothing.
type visit struct {
	tx     Tx
	fn     func(*Tx) error
	view   func(Reader) error
	update func(Txn) error
	events []Event // of the last attempt
}

// NewKeyspace returns a keyspace over engine that judges deadlines by clock, or by the engine's own
// clock if it is a Timekeeper.
func NewKeyspace(engine Engine, clock ttl.Clock) *Keyspace {
	ks := &Keyspace{engine: engine, clock: clock}
	if keeper, ok := engine.(Timekeeper); ok {
		ks.keeper, ks.clock = keeper, keeper.Clock()
	}
	ks.visits.New = func() any {
		v := &visit{}
		v.view = func(r Reader) error {
			v.tx = Tx{reader: r, now: ks.judges(r), events: ks.eventsOf(v)}
			return v.fn(&v.tx)
		}
		v.update = func(w Txn) error {
			v.tx = Tx{reader: w, writer: w, now: ks.judges(w), events: ks.eventsOf(v)}
			return v.fn(&v.tx)
		}
		return v
	}
	return ks
}

// visit returns a visit that will call fn. The caller gives it back.
func (ks *Keyspace) visit(fn func(*Tx) error) *visit {
	v := ks.visits.Get().(*visit)
	v.fn = fn
	return v
}

func (ks *Keyspace) giveBack(v *visit) {
	v.fn, v.tx = nil, Tx{}
	if len(v.events) > 0 {
		v.forgetEvents()
	}
	ks.visits.Put(v)
}

// judges returns the instant by which a transaction judges deadlines.
func (ks *Keyspace) judges(r Reader) ttl.Instant {
	if ks.keeper != nil {
		return ks.keeper.Now(r)
	}
	return ks.clock.Now()
}

// Clock returns the clock that judges records. Whoever calls Sweep goes by it.
func (ks *Keyspace) Clock() ttl.Clock { return ks.clock }

// Now returns the instant by which records are judged at the moment.
func (ks *Keyspace) Now() ttl.Instant { return ks.clock.Now() }

// Sleep returns nil after d by the clock that judges records, or ctx's error if ctx ends first.
func (ks *Keyspace) Sleep(ctx context.Context, d time.Duration) error { return ks.clock.Sleep(ctx, d) }

// View calls fn with the live records of scope at one instant. See Engine.View.
func (ks *Keyspace) View(ctx context.Context, scope Scope, fn func(*Tx) error) (Barrier, error) {
	v := ks.visit(fn)
	defer ks.giveBack(v)
	b, err := ks.engine.View(ctx, scope, v.view)
	if err == nil && v.tx.events != nil {
		ks.release(v, b)
	}
	return b, err
}

// Update calls fn with a transaction over the live records of scope. See Engine.Update.
func (ks *Keyspace) Update(ctx context.Context, scope Scope, fn func(*Tx) error) (Barrier, error) {
	v := ks.visit(fn)
	defer ks.giveBack(v)
	b, err := ks.engine.Update(ctx, scope, v.update)
	if err == nil && v.tx.expired > 0 {
		ks.expired.Add(v.tx.expired)
	}
	if err == nil && v.tx.events != nil {
		ks.release(v, b)
	}
	return b, err
}

// Sync returns once everything b stands for is as safe as the durability mode promises.
func (ks *Keyspace) Sync(ctx context.Context, b Barrier) error { return ks.engine.Sync(ctx, b) }

// Disk tells how a store stands with its disk. Sizes are bytes.
type Disk struct {
	Full      bool  // new records are refused with ErrFull
	Available int64 // free on the file system
	Used      int64 // by the store
	Quota     int64 // what the store may use; zero is all there is
	Exposed   bool  // other users of the machine can enter the folder of the store
}

// DiskReporter is an Engine with a disk of its own.
type DiskReporter interface {
	// Disk returns how things stand now.
	Disk() Disk
}

// Disk returns how the engine stands with its disk. ok is false if it has none of its own.
func (ks *Keyspace) Disk() (d Disk, ok bool) {
	if r, has := ks.engine.(DiskReporter); has {
		return r.Disk(), true
	}
	return Disk{}, false
}

// Log tells how a store stands with its log. Sizes are bytes.
type Log struct {
	Most      int64 // that its files may take
	Pending   int64 // that a start would read again if the process were killed now
	Recovered int64 // changes that were made again when the store was opened
}

// LogReporter is an Engine with a log of its own.
type LogReporter interface {
	// Log returns how things stand now.
	Log() Log
}

// Log returns how the engine stands with its log. ok is false if it has none of its own.
func (ks *Keyspace) Log() (l Log, ok bool) {
	if r, has := ks.engine.(LogReporter); has {
		return r.Log(), true
	}
	return Log{}, false
}

// SetDurability changes how safe a change is before its reply. See Engine.SetDurability.
func (ks *Keyspace) SetDurability(d Durability) Barrier { return ks.engine.SetDurability(d) }

// SweepReporter is an Engine that counts what it sweeps.
type SweepReporter interface {
	// Swept returns how many records Sweep has removed since the engine was opened.
	Swept() int64
}

// Expired returns how many records ended by their deadline and were removed since the keyspace
// was made, each counted once: by the sweeper, or because the name was used again or deleted
// before the sweeper came.
func (ks *Keyspace) Expired() int64 {
	n := ks.expired.Load()
	if r, has := ks.engine.(SweepReporter); has {
		n += r.Swept()
	}
	return n
}

// Tx is a transaction over live records: those whose deadline is not due at Now. It is
// valid only inside the function it was handed to, and for one goroutine.
type Tx struct {
	reader Reader
	writer Txn // nil in a View
	now    ttl.Instant

	written int
	expired int64 // records that ended by their deadline and are removed by the transaction

	events *[]Event // nil if nobody listens
}

// Now returns the one instant by which this transaction judges every deadline.
func (tx *Tx) Now() ttl.Instant { return tx.now }

// Find returns the live record under k with its value.
func (tx *Tx) Find(k Key) (Record, bool, error) {
	r, found, err := tx.reader.Get(k)
	return tx.alive(r, found, err)
}

// Stat returns the live record under k without its value.
func (tx *Tx) Stat(k Key) (Record, bool, error) {
	r, found, err := tx.reader.Stat(k)
	return tx.alive(r, found, err)
}

func (tx *Tx) alive(r Record, found bool, err error) (Record, bool, error) {
	if err != nil || !found || r.Deadline.Due(tx.now) {
		return Record{}, false, err
	}
	return r, true, nil
}

// Put stores r under k. A record that is due already ends what was there instead.
func (tx *Tx) Put(k Key, r Record) error {
	if tx.writer == nil {
		return ErrReadOnly
	}
	old, found, err := tx.reader.Stat(k)
	if err != nil {
		return err
	}
	if found && old.Deadline.Due(tx.now) {
		// Putting over the remains of a dead record creates the key: WATCH must see it.
		if err := tx.writer.Delete(k); err != nil {
			return err
		}
		tx.expire(k)
	}
	tx.written += len(r.Value)
	if err := tx.writer.Put(k, r); err != nil || !r.Deadline.Due(tx.now) {
		return err
	}
	// It lived for no time, but it was there: WATCH must see that, too.
	tx.expire(k)
	return tx.writer.Delete(k)
}

// Written returns how many bytes of values were Put so far, those that were overwritten or
// deleted again included.
func (tx *Tx) Written() int { return tx.written }

// expire notes that the transaction removes a record that ended by its deadline.
func (tx *Tx) expire(k Key) {
	tx.expired++
	tx.Emit(Event{Name: EventExpired, Key: k})
}

// SetDeadline moves the deadline of the live record under k; a deadline that is due
// already ends the record. It returns ErrNotFound if there is none.
func (tx *Tx) SetDeadline(k Key, deadline ttl.Instant) error {
	if tx.writer == nil {
		return ErrReadOnly
	}
	_, found, err := tx.Stat(k)
	if err != nil {
		return err
	}
	if !found {
		return ErrNotFound
	}
	if deadline.Due(tx.now) {
		return tx.writer.Delete(k)
	}
	return tx.writer.SetDeadline(k, deadline)
}

// Delete removes the record under k and reports whether a live one was there.
func (tx *Tx) Delete(k Key) (bool, error) {
	if tx.writer == nil {
		return false, ErrReadOnly
	}
	r, found, err := tx.reader.Stat(k)
	if err != nil {
		return false, err
	}
	if found && r.Deadline.Due(tx.now) {
		tx.expire(k)
		found = false
	}
	return found, tx.writer.Delete(k)
}

// Flush removes every record of a database. It needs the scope Whole.
func (tx *Tx) Flush(db int) error {
	if tx.writer == nil {
		return ErrReadOnly
	}
	return tx.writer.Flush(db)
}

// Swap exchanges the contents of two databases. It needs the scope Whole.
func (tx *Tx) Swap(a, b int) error {
	if tx.writer == nil {
		return ErrReadOnly
	}
	return tx.writer.Swap(a, b)
}

// Len returns the size of a database in constant time, due records that are not yet swept
// included, as Redis' DBSIZE does.
func (tx *Tx) Len(db int) (Count, error) { return tx.reader.Len(db) }

// Scan calls fn for the live records of a database. See Reader.Scan.
func (tx *Tx) Scan(db int, cursor uint64, limit int, fn func(k Key, r Record) bool) (uint64, error) {
	return tx.reader.Scan(db, cursor, limit, func(k Key, r Record) bool {
		return r.Deadline.Due(tx.now) || fn(k, r)
	})
}

// randomPage is how many neighbours Random chooses from.
const randomPage = 64

// Random returns the name of a live record of a database. Every one may be returned, not
// all equally often. found is false if the database has none.
func (tx *Tx) Random(db int) (name []byte, found bool, err error) {
	seen := 0
	choose := func(k Key, _ Record) bool {
		if seen++; rand.IntN(seen) == 0 {
			name = append(name[:0], k.Name...)
		}
		return true
	}
	for _, cursor := range []uint64{rand.Uint64N(MaxCursor), 0} {
		for {
			if cursor, err = tx.Scan(db, cursor, randomPage, choose); err != nil {
				return nil, false, err
			}
			if seen > 0 {
				return name, true, nil
			}
			if cursor == 0 {
				break
			}
		}
	}
	return nil, false, nil
}

// Mark is what WATCH remembers of a key: whether it was alive, and a number that differs
// if it was changed since. That databases were swapped is in it only if the engine is a SwapCounter.
type Mark struct {
	alive    bool
	revision uint64
	swaps    uint64
}

// Mark returns the present mark of k.
func (tx *Tx) Mark(k Key) (m Mark, err error) {
	r, found, err := tx.Stat(k)
	if err != nil {
		return Mark{}, err
	}
	if m.alive, m.revision = found, r.Revision; !found {
		if m.revision, err = tx.reader.Generation(k); err != nil {
			return Mark{}, err
		}
	}
	if counter, ok := tx.reader.(SwapCounter); ok {
		m.swaps, err = counter.Swaps()
	}
	return m, err
}
