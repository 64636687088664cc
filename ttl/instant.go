// Package ttl decides when a session ends.
//
// It holds the one comparison every read path uses (Instant.Due), the Clock that
// everything else is given instead of reading the wall clock, and the Sweeper that
// frees the space of ended records. It knows nothing of keys, values or files.
package ttl

import (
	"math"
	"time"
)

// Instant is a point in time in Unix milliseconds: the resolution of Redis deadlines.
//
// As a deadline, Never (zero) means "lives until deleted". Real deadlines are positive;
// a deadline at or before the epoch is already past and is never stored.
type Instant int64

const (
	// Never is the deadline of a record that does not expire.
	Never Instant = 0
	// Latest is the largest deadline that can be stored.
	Latest Instant = math.MaxInt64
)

// Of returns t as an Instant, rounded down to the millisecond.
func Of(t time.Time) Instant { return Instant(t.UnixMilli()) }

// Due reports whether a record with this deadline has ended at now: deadline <= now.
// Every read path, the sweeper and the embedded API call it; there is no other comparison.
func (deadline Instant) Due(now Instant) bool {
	return deadline != Never && deadline <= now
}

// Extends reports whether moving a deadline from old to this one only lengthens a life that
// already had an end. Giving a first deadline or taking one away is not an extension.
func (deadline Instant) Extends(old Instant) bool {
	return old != Never && deadline != Never && deadline >= old
}

// Add returns the instant d after this one, rounded down to the millisecond, but no later
// than Latest.
func (deadline Instant) Add(d time.Duration) Instant {
	ms := Instant(d / time.Millisecond)
	if d%time.Millisecond < 0 {
		ms--
	}
	if ms > 0 && deadline > Latest-ms {
		return Latest
	}
	return deadline + ms
}

// Sub returns the time from earlier to this instant, or the longest Duration (about 292
// years) if it is more, as time.Time's does.
func (deadline Instant) Sub(earlier Instant) time.Duration {
	return deadline.Time().Sub(earlier.Time())
}

// Time returns the instant as a time.Time in UTC.
func (deadline Instant) Time() time.Time { return time.UnixMilli(int64(deadline)).UTC() }

// Earlier returns the lower of two deadlines, where Never stands for none.
func Earlier(a, b Instant) Instant {
	if a == Never || b != Never && b < a {
		return b
	}
	return a
}
