package storage

import (
	"errors"

	"github.com/sessiond/sessiond/ttl"
)

// Timekeeper is an Engine that judges deadlines by a clock of its own, as one must whose store is shared
// by several processes: their clocks differ, and what one of them showed as ended has ended for all.
type Timekeeper interface {
	// Clock returns that clock, which does not go back. Now may return an estimate: what it is used
	// for is how long something took, and when to sweep.
	Clock() ttl.Clock
	// Now returns the instant by which the transaction that r belongs to judges deadlines. Keyspace
	// asks once for each run of a function. It is not earlier than the instant of any transaction
	// that had a record before this one got it.
	Now(r Reader) ttl.Instant
}

// SwapCounter is a Reader of a store in which other processes may swap databases. A process that has the
// store for itself knows of each Swap and does without.
type SwapCounter interface {
	// Swaps returns a number that grows with every Swap in the store. Two equal numbers say that there
	// was none in between.
	Swaps() (uint64, error)
}

// ErrElsewhere is returned by Sweep of an engine whose store is shared, while another process sweeps it. It
// removed nothing then, and promises nothing of what is due. A ttl.Sweeper asks again after its
// MaxSleep.
var ErrElsewhere = errors.New("another process sweeps the store")
