package server

import (
	"sync"
	"sync/atomic"
)

// preAuthBuffer is how many bytes all connections that have not logged in may hold together, beyond
// the small buffer of each one.
const preAuthBuffer = 32 << 20

// clientsBuffer is how many bytes all clients that have logged in may hold together: large commands
// that have not arrived completely, transactions, and replies that were not sent.
const clientsBuffer = 1 << 30

// budget is a number of bytes that many connections share. It is safe for concurrent use.
type budget struct{ left atomic.Int64 }

func newBudget(bytes int64) *budget {
	b := &budget{}
	b.left.Store(bytes)
	return b
}

// take reserves n bytes. If fewer are left it reserves nothing and ok is false.
func (b *budget) take(n int) (ok bool) {
	if b.left.Add(-int64(n)) < 0 {
		b.left.Add(int64(n))
		return false
	}
	return true
}

// give returns n bytes that were taken.
func (b *budget) give(n int) { b.left.Add(int64(n)) }

// share is the part of a budget that one holder has taken. It is a resp.Budget, for one goroutine.
type share struct {
	of    *budget
	taken int
}

// Hold changes the share to n bytes. If the budget has too few left it changes nothing and returns
// false. A smaller share is always granted.
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

// replyBuffers lends connections the memory for their replies, so that a connection that waits for
// its client holds none. The zero value is ready to use. It is safe for concurrent use.
type replyBuffers struct{ pool sync.Pool }

// take lends an empty buffer.
func (r *replyBuffers) take() *[]byte {
	if lent, ok := r.pool.Get().(*[]byte); ok {
		return lent
	}
	b := make([]byte, 0, 512)
	return &b
}

// give takes back a buffer that take has lent and that has become b. The caller no longer uses it. A
// large buffer is left to the garbage collector.
func (r *replyBuffers) give(lent *[]byte, b []byte) {
	if lent != nil && cap(b) <= 2*flushSize {
		*lent = b[:0]
		r.pool.Put(lent)
	}
}
