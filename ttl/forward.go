package ttl

import (
	"context"
	"sync/atomic"
	"time"
)

// Forward is a Clock over another clock. When that one goes back, a Forward stands still until
// Release lets it go back, too. Create it with NewForward.
//
// A session that a reply showed as ended must stay ended, even if the machine's clock is set back to
// before its deadline. So a Forward stands still at the highest instant that it has returned, while
// the Sweeper removes every record that is due at that instant. After that the Sweeper releases the
// clock: what had ended is gone, and the time is right again. This takes as long as the removal, most
// often milliseconds.
//
// No reply contradicts an earlier one, because a transaction judges a record by an instant that it
// asked for while it held the record (see storage.Keyspace):
//
//   - Between two releases the clock never goes back. If a transaction has seen a record as ended,
//     every later holder of the record sees it as ended, too.
//   - At a release no record is left that is due at the highest instant, high, and none can be added.
//     A transaction that was given an instant before high may store a record that is due at high.
//     But it held the key before the last sweep began, and the sweep has waited for it (see
//     storage.Engine). Every other transaction was given high or a later instant, and Keyspace does
//     not store a record that is due then.
//   - A transaction that was given high before the release and is still running after it holds the
//     keys that it replies about. A scan does not hold its keys. At worst it misses a record that was
//     created during the scan.
//
// If the other clock is less than smallStep behind, a Forward is not released. It stands still until
// the other clock has caught up.
type Forward struct {
	clock Clock
	high  atomic.Int64 // Instant; the highest that was returned since the last Release
}

// smallStep is how far the clock under a Forward must be behind to count as set back. A leap second
// or a correction by NTP puts it behind by less.
const smallStep = time.Second

// NewForward returns a clock over another one. It starts at highWater, or later if the other clock is
// ahead of that.
func NewForward(clock Clock, highWater Instant) *Forward {
	f := &Forward{clock: clock}
	f.high.Store(int64(highWater))
	return f
}

// Now returns the instant of the clock below, or the highest that was returned since the
// last Release if that is later. It allocates nothing and takes no lock.
func (f *Forward) Now() Instant {
	for {
		// high is read first. If a Release comes in between, the swap fails and high is not
		// raised to an instant from before the Release.
		high := f.high.Load()
		now := f.clock.Now()
		if now <= Instant(high) {
			return Instant(high)
		}
		if f.high.CompareAndSwap(high, int64(now)) {
			return now
		}
	}
}

// Wall returns the instant of the clock below, which may be behind Now.
func (f *Forward) Wall() Instant { return f.clock.Now() }

// Release lets the clock go back from one instant to an earlier one. It does nothing and
// reports false if Now has passed from. The caller guarantees that no record is left
// that is due at from.
func (f *Forward) Release(from, to Instant) bool {
	return to < from && f.high.CompareAndSwap(int64(from), int64(to))
}

// Sleep sleeps on the other clock: a duration does not depend on where a clock stands.
func (f *Forward) Sleep(ctx context.Context, d time.Duration) error { return f.clock.Sleep(ctx, d) }
