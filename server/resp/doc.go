// Package resp is the wire form of the Redis protocol: a Reader cuts the bytes of a client
// into commands, and a Writer builds replies in RESP2 or RESP3.
//
// It knows nothing of commands, connections and storage. Limits bound its memory, and large buffers
// are charged to a Budget that the caller provides.
package resp

// Budget counts the memory of one holder. The holder calls Hold before it allocates a large buffer.
// One goroutine at a time uses a Budget.
type Budget interface {
	// Hold changes the holder's part to n bytes. If too few bytes are left it changes nothing and
	// returns false. A negative n counts as zero. A smaller part is always granted.
	Hold(n int) (ok bool)
}

// hold calls b.Hold. A nil Budget has no limit.
func hold(b Budget, n int) (ok bool) { return b == nil || b.Hold(n) }
