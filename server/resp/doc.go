// Package resp is the wire form of the Redis protocol: a Reader cuts the bytes of a client
// into commands, and a Writer builds replies in RESP2 or RESP3.
//
// It knows nothing of commands, connections and storage. What it holds in memory is bounded
// by Limits, and large buffers are charged to a Budget that the caller hands in.
package resp

// Budget counts the memory of one holder, which asks before it takes a large buffer. It is
// used by one goroutine at a time.
type Budget interface {
	// Hold makes the holder's part n bytes, or leaves it as it is and returns false if so
	// many are not left. A negative n is zero. Less than before is always granted.
	Hold(n int) (ok bool)
}

// hold asks a budget, if there is one. Without a budget nothing is refused.
func hold(b Budget, n int) (ok bool) { return b == nil || b.Hold(n) }
