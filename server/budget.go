package server

import (
	"sync"
	"sync/atomic"
)

// preAuthBuffer is what all connections that have not logged in may hold together, beyond
// the small buffer each of them has.
const preAuthBuffer = 32 << 20

// clientsBuffer is what all clients that have logged in may hold together: large commands
// that have not arrived completely, transactions, and replies that were not sent.
const clientsBuffer = 1 << 30

// budget is a number of bytes that many may use together. It is safe for concurrent use.
type budget struct{ left atomic.Int64 }

func newBudget(bytes int64) *budget {
	b := &budget{}
	b.left.Store(bytes)
	return b
}

// take reserves n bytes; ok is false, and nothing is reserved, if so many are not left.
func (b *budget) take(n int) (ok bool) {
	if b.left.Add(-int64(n)) < 0 {
		b.left.Add(int64(n))
		return false
	}
	return true
}

// give returns n bytes that were taken.
func (b *budget) give(n int) { b.left.Add(int64(n)) }

// share is what one holder has taken of a budget: a resp.Budget. It is for one goroutine.
type share struct {
	of    *budget
	taken int
}

// Hold makes the share n bytes, or leaves it as it is and returns false if the budget has
// not as many left. Less is always granted.
func (s *share) Hold(n int) (ok bool) {
	n = max(n, 0)
	switch {
	case n > s.taken && !s.of.take(n-s.taken):
		return false
	case n < s.taken:
		s.of.give(s.taken - n)
	}
	s.taken = n
	return true
}

// replyBuffers lends connections the memory they build replies in, so that those which
// wait for their client hold none. The zero value is ready to use, also concurrently.
type replyBuffers struct{ pool sync.Pool }

// take lends an empty buffer.
func (r *replyBuffers) take() *[]byte {
	if lent, ok := r.pool.Get().(*[]byte); ok {
		return lent
	}
	b := make([]byte, 0, 512)
	return &b
}

// give takes back what take has lent, grown to b, which nobody uses any more. A large buffer
// is let go.
func (r *replyBuffers) give(lent *[]byte, b []byte) {
	if lent != nil && cap(b) <= 2*flushSize {
		*lent = b[:0]
		r.pool.Put(lent)
	}
}
