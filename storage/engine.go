package storage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sessiond/sessiond/ttl"
)

// Engine keeps records on stable storage. It compares no deadline with a clock, except in
// Sweep: whether a record is still alive is decided above, in Keyspace.
//
// Several processes may share one store, each by an engine of its own. What follows is then said of the
// store, not of the process: isolation, revisions, generations, that fn sees what was committed.
// The rest is the engine's business: it ignores the Scope or locks by it, no process shows a
// Barrier to another, and a Timekeeper has one clock for all, a SwapCounter counts the swaps of all,
// and ErrElsewhere says that it is not this process's turn to sweep. What an engine knows of its disk,
// its log and its sweeps it reports as a DiskReporter, LogReporter and SweepReporter. Copies,
// checks and repairs are done in ways of its own, by its package.
//
// All methods are safe for concurrent use. If a context ends, a call returns its error or
// does its work, never half of it. Each engine passes enginetest.Run.
type Engine interface {
	// View calls fn with the records of scope as they stand at one instant.
	// fn may run more than once and must have no effect outside itself that a second
	// run does not overwrite. The error is fn's or the engine's.
	//
	// The returned Barrier stands for the newest change fn can have seen, also if fn
	// failed: whoever shows what fn read to somebody else, be it an error that rests on it,
	// passes the barrier to Sync first.
	View(ctx context.Context, scope Scope, fn func(Reader) error) (Barrier, error)

	// Update calls fn with a transaction over scope and applies what fn wrote, all of it
	// or nothing, if fn returns nil. Updates whose scopes overlap are isolated from each
	// other. fn may run more than once, like View's.
	//
	// When Update returns, every later View sees the change; it survives a crash once
	// Sync has returned for the barrier. The barrier covers what fn read, too.
	Update(ctx context.Context, scope Scope, fn func(Txn) error) (Barrier, error)

	// Sync returns once everything b stands for is as safe as the durability mode promises, and
	// everything that was visible before the call survives the end of the process, whatever b is.
	// Many callers share one write to disk. If there is nothing to do, it costs nothing.
	Sync(ctx context.Context, b Barrier) error

	// SetDurability changes how safe a change is before its reply. Once Sync has returned for
	// the barrier every change that was acknowledged, by the old mode too, is on stable
	// storage, and no later reply is less safe than d promises. It may be called inside a
	// function that was handed to View or Update.
	SetDurability(d Durability) Barrier

	// Sweep removes records that are due at now, at most budget index entries at a time.
	// It returns how many entries it dealt with and the deadline at which the next one
	// comes due (ttl.Never if there is none). A record is removed only if its own
	// deadline is due when looked at under the key's lock. If n is below budget and next is
	// not due, then no record is left that was due at now and was stored by an Update whose
	// fn was called before Sweep; and no fn that is called later sees one. The error is
	// ErrFull if there is not even room to remove, and ErrElsewhere if another process sweeps. Sweep
	// is for one goroutine.
	//
	// A now before that of the last Sweep says that time goes back. Sweep then returns once
	// everything that was removed so far is on stable storage.
	Sweep(ctx context.Context, now ttl.Instant, budget int) (n int, next ttl.Instant, err error)

	// OnSwept makes Sweep call fn with the keys of the records it removed: each removal once, also
	// if that Sweep then returns an error, and never a record that an Update removed. The
	// databases are those of the moment of the removal. Whoever shows the keys to somebody else
	// passes b to Sync first.
	//
	// Sweep calls fn in its own goroutine once the removal is visible. fn may use the engine, but
	// neither Sweep nor Close. The keys are valid until fn returns. Nil, as in the beginning, is
	// told nothing and costs nothing. OnSwept may be called at any time; a Sweep that is under way
	// may go on with the function before. A process is told of its own sweeps only.
	OnSwept(fn func(keys []Key, b Barrier))

	// Seen returns the now of some earlier Sweep, before a restart too: of the last one that
	// removed a record, or of a later one. After a Sweep it is not later than that one's now.
	// ttl.Never says that nothing was removed yet. What was due then may have been shown as
	// ended: time must not begin before Seen until it is removed.
	Seen() ttl.Instant

	// Close makes everything durable and releases the store. Calls that are under way
	// must have returned.
	Close() error
}

// Scope announces which records a View or an Update may touch. A local engine locks them
// in order; a distributed one may ignore it.
type Scope struct {
	Keys []Key // the records named; repeats are allowed
	All  bool  // every record of every database
}

// Whole is the scope of FLUSHALL, SWAPDB and everything that cannot name its keys.
var Whole = Scope{All: true}

// Reader reads records. It is valid only inside the function it was handed to, and for one
// goroutine. Reading a key outside the announced scope returns ErrScope.
type Reader interface {
	// Get returns the record under k. found is false if there is none.
	Get(k Key) (r Record, found bool, err error)
	// Stat is Get without the value: it costs the same for 1 byte and 1 MB.
	Stat(k Key) (r Record, found bool, err error)
	// Generation returns a number that grows whenever k is created: a Put where there was
	// no record, or after a Delete in the same transaction, even if the transaction deletes
	// it again. Removing a record, by Sweep too, does not make it grow, nor does Swap. It
	// may grow at other moments and means nothing after a restart. Two equal generations
	// say that a key absent at both moments was absent in between, but for Swap.
	Generation(k Key) (uint64, error)
	// Len returns the size of a database in constant time, the transaction's own changes
	// included. It needs no scope; without Whole it tells of some instant during the call.
	Len(db int) (Count, error)
	// Scan calls fn, without values, for the records of a database in the engine's order,
	// from cursor on, until fn returns false or about limit records were visited; a few
	// more are, when they share one position. It returns where to go on, or 0 at the end.
	// A record that exists throughout a series of Scans from 0 to 0 is visited at least
	// once. The key is valid only inside fn. Scan needs no scope; without Whole it sees
	// the records at some instant during the call.
	Scan(db int, cursor uint64, limit int, fn func(k Key, r Record) bool) (next uint64, err error)
}

// MaxCursor is above every cursor that Scan returns: positions have 48 bits, and so are
// exact integers in JavaScript, too. Any larger cursor stands for the end.
const MaxCursor = 1 << 48

// Txn reads and changes records. Reads see the transaction's own changes. It keeps the
// slices it is given until Update returns.
type Txn interface {
	Reader
	// Put stores r under k, whatever was there before.
	Put(k Key, r Record) error
	// SetDeadline moves the deadline of the record under k and leaves the value alone: it
	// costs the same for 1 byte and 1 MB. It returns ErrNotFound if there is no record.
	SetDeadline(k Key, deadline ttl.Instant) error
	// Delete removes the record under k, if there is one.
	Delete(k Key) error
	// Flush removes every record of a database. It needs the scope Whole.
	Flush(db int) error
	// Swap exchanges the contents of two databases. It needs the scope Whole.
	Swap(a, b int) error
}

// Barrier marks a point in an engine's order of changes: the higher of two stands for both. Up to
// there Sync brings everything to stable storage. The zero Barrier asks for no more than what Sync
// does anyway.
type Barrier uint64

// Everything is the Barrier that stands for all that was visible before Sync is called.
const Everything Barrier = math.MaxUint64

// Durability says how safe a change is before its reply leaves.
type Durability int

const (
	// Session: what creates, changes or ends a record is on stable storage before the
	// reply. A pure extension of a deadline survives kill -9 before the reply and a power
	// cut within a second.
	Session Durability = iota
	// Strict: every change is on stable storage before the reply.
	Strict
	// EverySec: every change survives kill -9 before the reply, and a power cut within
	// about a second.
	EverySec
)

// durabilityNames are the names of the modes, by their number.
var durabilityNames = [...]string{Session: "session", Strict: "strict", EverySec: "everysec"}

// String returns the name that ParseDurability takes.
func (d Durability) String() string {
	if d < 0 || int(d) >= len(durabilityNames) {
		return fmt.Sprintf("Durability(%d)", int(d))
	}
	return durabilityNames[d]
}

// ParseDurability returns the mode with that name: session, strict or everysec.
func ParseDurability(name string) (Durability, error) {
	i := slices.Index(durabilityNames[:], name)
	if i < 0 {
		return 0, fmt.Errorf("%q is none of %s", name, strings.Join(durabilityNames[:], ", "))
	}
	return Durability(i), nil
}

// Errors every engine returns. Compare with errors.Is.
var (
	// ErrNotFound is returned by SetDeadline when there is no record under the key.
	ErrNotFound = errors.New("no such record")
	// ErrScope is returned when a transaction touches what its scope did not announce.
	ErrScope = errors.New("key outside the announced scope")
	// ErrFull is returned by Update, which then has changed nothing, when there is no room
	// on stable storage for what fn wrote. What removes records or ends them sooner is
	// never refused so.
	ErrFull = errors.New("no room on the disk")
	// ErrFailed is returned by every method once changes can no longer be written safely. It
	// wraps the reason. Nothing is acknowledged any more, whatever was asked for before.
	ErrFailed = errors.New("store has failed")
	// ErrClosed is returned by every method after Close.
	ErrClosed = errors.New("store is closed")
)
