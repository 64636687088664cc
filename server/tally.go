package server

import "sync/atomic"

// tally is what a connection counts for INFO, for its own goroutine. Each flush adds it to the totals,
// so that a command in a pipeline changes no shared counter.
type tally struct {
	commands int64
	lookups
}

// lookups counts the keys that read commands have found and not found.
type lookups struct{ hits, misses int64 }

func (l *lookups) add(more lookups) {
	l.hits += more.hits
	l.misses += more.misses
}

// totals are the sums of all tallies since the start or the last CONFIG RESETSTAT, and the bytes that
// were received and sent, without encryption. It is safe for concurrent use.
type totals struct {
	commands, hits, misses atomic.Int64
	received, sent         atomic.Int64
}

// take moves a tally to the totals.
func (t *totals) take(from *tally) {
	for _, x := range [...]struct {
		to *atomic.Int64
		n  int64
	}{{&t.commands, from.commands}, {&t.hits, from.hits}, {&t.misses, from.misses}} {
		if x.n != 0 {
			x.to.Add(x.n)
		}
	}
	*from = tally{}
}

func (t *totals) reset() {
	for _, x := range [...]*atomic.Int64{&t.commands, &t.hits, &t.misses, &t.received, &t.sent} {
		x.Store(0)
	}
}
