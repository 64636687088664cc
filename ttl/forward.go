package ttl

import (
	"context"
	"sync/atomic"
	"time"
)

// Forward is a Clock that does not go back when the clock under it does, until it is let.
// Create it with NewForward.
//
// A session that a reply showed as ended must stay ended, also when the machine's clock is
// set back to before its deadline. So the clock stands still at the highest instant it has
// told, while the Sweeper removes every record that is due then. Only after that does the
// Sweeper release it: what had ended is gone by then, time is right again, and nobody has
// to remember a thing. It takes as long as the removal takes, most often milliseconds.
//
// Why no reply contradicts an earlier one: everybody judges a record by an instant that he
// asked for while he held the record (see storage.Keyspace).
//
//   - Between two releases the clock never goes back, in whatever order who asks it holds
//     the record. Whoever comes later sees the record as dead, too.
//   - At a release no record is left that is due at the highest instant, high, and none can
//     come any more. Who asked for the time before it had reached high, and may store a
//     record that is due at high, held its key before the last sweep began, and the sweep
//     has waited for him (see storage.Engine). Everybody else was told high or later, and
//     with that stores nothing that is due at high: Keyspace ends such a record at once.
//   - Who was told high before the release and is still at work after it holds the keys of
//     which he says anything. Who scans without holding them misses, at worst, a record
//     that was created during his scan.
//
// A clock that is set back by less than smallStep is not released: it stands still until
// the other has caught up.
type Forward struct {
	clock Clock
	high  atomic.Int64 // Instant; the highest told since the last release
}

// smallStep is the least by which the clock under a Forward has to be behind to be a step
// worth a word. Less than that it is behind after a leap second or a correction by NTP.
const smallStep = time.Second

// NewForward returns a clock over another that begins no earlier than at seen.
func NewForward(clock Clock, seen Instant) *Forward {
	f := &Forward{clock: clock}
	f.high.Store(int64(seen))
	return f
}

// Now returns the instant of the clock below, or the highest that was returned since the
// last Release if that is later. It allocates nothing and takes no lock.
func (f *Forward) Now() Instant {
	for {
		// High is read first: if a Release comes between, nobody raises it to an instant
		// from before.
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
// reports false if Now has passed from. The caller knows that nothing is stored any more
// that is due at from.
func (f *Forward) Release(from, to Instant) bool {
	return to < from && f.high.CompareAndSwap(int64(from), int64(to))
}

// Sleep is the other clock's: it measures how much time passes, not what it is called.
func (f *Forward) Sleep(ctx context.Context, d time.Duration) error { return f.clock.Sleep(ctx, d) }
