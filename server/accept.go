package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// backoff slows an accept loop down while accepting fails, out of file descriptors for
// example, and logs the first failure of a row.
type backoff struct{ pause time.Duration }

func (b *backoff) reset() { b.pause = 0 }

func (b *backoff) wait(s *Server, err error) {
	if b.pause == 0 {
		s.log.Error("cannot accept connections; trying again", "err", err)
	}
	b.pause = min(max(2*b.pause, 5*time.Millisecond), time.Second)
	_ = ttl.System.Sleep(context.Background(), b.pause) // cannot be cancelled
}

// newRunID returns 40 random hexadecimal digits: INFO's run_id.
func newRunID() string {
	var b [20]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}
